"""Client of the inference process, so that the web process imports no torch.

The inference process is started by the first request. It exits when its stdin closes, that is when
this process ends, or after a while without requests.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from functools import cache
from typing import Any

from django.conf import settings
from rest_framework.exceptions import APIException

from training.programs import messages
from training.programs.messages import InferenceRequest, InferenceResponse
from training.programs.registry import get_program
from training.subprocess_env import scrubbed

START_SECONDS = 60.0  # importing torch takes long on a loaded machine
RESPONSE_SECONDS = 60.0
EXPORT_SECONDS = 600.0


class InferenceUnavailableError(APIException):
    """The inference process could not be started, died, or took too long."""

    status_code = 503


class InferenceError(Exception):
    """The request is invalid; `field` names the field at fault, if it is one field."""

    def __init__(self, reason: str, field: str | None) -> None:
        super().__init__(reason)
        self.field = field


class InferenceClient:
    """Sends one request at a time; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._responses = -1

    def request(
        self, request: InferenceRequest, seconds: float = RESPONSE_SECONDS
    ) -> list[dict[str, Any]]:
        """Return the results; raise InferenceError or InferenceUnavailableError."""
        with self._lock:
            response = self._exchange(request, seconds)
            if response is None:  # it had exited when idle, or was killed: start it again, once
                self.close()
                response = self._exchange(request, seconds)
        if response is None:
            raise InferenceUnavailableError(
                "The inference process exited without a response. See its log."
            )
        if response.error is not None:
            raise InferenceError(response.error, response.field)
        return response.results

    def close(self) -> None:
        """Kill the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        os.close(self._responses)
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()

    def _exchange(self, request: InferenceRequest, seconds: float) -> InferenceResponse | None:
        """Return None if the process is gone."""
        process = self._process
        if process is None:
            process = self._process = self._start()
            seconds += START_SECONDS
        assert process.stdin is not None
        try:
            process.stdin.write(messages.encode(request))
            process.stdin.flush()
        except OSError:
            return None
        for lines in messages.read_lines(self._responses, seconds):
            if lines:
                return messages.decode_response(lines[0])
            self.close()
            raise InferenceUnavailableError(
                f"The inference process did not respond within {seconds:.0f} s."
            )
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        self._responses, responses = os.pipe()
        try:
            return subprocess.Popen(
                [sys.executable, *get_program().inference_command],
                stdin=subprocess.PIPE,
                stdout=2,
                cwd=settings.BASE_DIR,
                start_new_session=True,
                pass_fds=(responses,),
                env=scrubbed(OMP_NUM_THREADS="1", **{messages.FD_VARIABLE: str(responses)}),
            )
        except OSError:
            os.close(self._responses)
            raise
        finally:
            os.close(responses)


@cache
def inference_client() -> InferenceClient:
    """Return the client that all threads of this process share."""
    return InferenceClient()
