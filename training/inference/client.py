"""One process of the engine that answers questions to trained models, for all of this process.

So the web loads no torch. It is started by the first question, and ends when its pipe does, which
is when this process ends, or after a while without questions.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
from functools import cache
from typing import Any

from django.conf import settings
from rest_framework.exceptions import APIException

from training.subprocess_env import scrubbed

START_SECONDS = 60.0  # a loaded machine takes its time to import torch
RESPONSE_SECONDS = 60.0
EXPORT_SECONDS = 600.0


class InferenceUnavailableError(APIException):
    """The predictor could not be started, died, or took too long."""

    status_code = 503


class InferenceError(Exception):
    """The question was understood and is wrong; `field` names where, if it is one field."""

    def __init__(self, reason: str, field: str | None) -> None:
        super().__init__(reason)
        self.field = field


class InferenceClient:
    """Asks one question at a time; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: dict[str, Any], seconds: float = RESPONSE_SECONDS) -> list[Any]:
        """The results; Refused or NoAnswer says why there are none."""
        line = json.dumps(question).encode() + b"\n"
        with self._lock:
            answer = self._answer(line, seconds)
            if answer is None:  # it had gone to rest, or was killed: once more, afresh
                self.close()
                answer = self._answer(line, seconds)
        if answer is None:
            raise InferenceUnavailableError(
                "The predictor ended without an answer; its log says why."
            )
        if "error" in answer:
            raise InferenceError(answer["error"], answer.get("field"))
        return list(answer["results"])

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def _answer(self, line: bytes, seconds: float) -> dict[str, Any] | None:
        """None where the process is gone."""
        process = self._process
        if process is None:
            process = self._process = self._start()
            seconds += START_SECONDS
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except OSError:
            return None
        received = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                if not selector.select(seconds):
                    self.close()
                    raise InferenceUnavailableError(
                        f"The predictor gave no answer within {seconds:.0f} s."
                    )
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    return None
                received += chunk
        found: dict[str, Any] = json.loads(received)
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "training.localization", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=settings.BASE_DIR,
            start_new_session=True,
            env=scrubbed(OMP_NUM_THREADS="1"),
        )


@cache
def inference_client() -> InferenceClient:
    """The one of this process."""
    return InferenceClient()
