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
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from rest_framework.exceptions import APIException

from training.data_paths import without_data_dir
from training.programs import messages
from training.programs.messages import InferenceRequest, InferenceResponse
from training.programs.registry import get_program
from training.request_thread import release_database
from training.subprocess_env import without_secrets

START_SECONDS = 60.0  # importing torch takes long on a loaded machine
RESPONSE_SECONDS = 60.0
EXPORT_SECONDS = 600.0
# Requests under way, all but one of which wait; each holds a thread.
MAX_REQUESTS = 8
RETRY_AFTER_SECONDS = 5


class InferenceUnavailableError(APIException):
    """The inference process could not be started, exited, timed out, or is overloaded."""

    status_code = 503
    wait = RETRY_AFTER_SECONDS  # DRF sends it as Retry-After


class InferenceError(Exception):
    """The request is invalid; `field` names the field at fault, if it is one field."""

    def __init__(self, reason: str, field: str | None) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, slots=True)
class Results:
    """The blocks of results, each a JSON array, and the message that ended them."""

    blocks: list[bytes]
    response: InferenceResponse


class InferenceClient:
    """Sends one request at a time; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        self._process: subprocess.Popen[bytes] | None = None
        self._responses = -1

    def request(self, request: InferenceRequest, seconds: float = RESPONSE_SECONDS) -> Results:
        """Return the results; raise InferenceError or InferenceUnavailableError.

        `seconds` is the longest silence of the process.
        """
        if not self._slots.acquire(blocking=False):
            raise InferenceUnavailableError(
                f"{MAX_REQUESTS} predictions and exports are under way; try again in "
                f"{RETRY_AFTER_SECONDS} seconds."
            )
        try:
            release_database()
            return self._request(request, seconds)
        finally:
            self._slots.release()

    def _request(self, request: InferenceRequest, seconds: float) -> Results:
        with self._lock:
            found = self._exchange(request, seconds)
            if found is None:  # the process was idle and exited, or was killed: restart it once
                self.close()
                found = self._exchange(request, seconds)
        if found is None:
            raise InferenceUnavailableError(
                "The inference process exited without a response. See its log."
            )
        response = found.response
        if response.error is not None:
            raise InferenceError(without_data_dir(response.error), response.field)
        return found

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        os.close(self._responses)
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()

    def _exchange(self, request: InferenceRequest, seconds: float) -> Results | None:
        """Return None if the process has exited."""
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
        blocks = list[bytes]()
        for lines in messages.read_lines(self._responses, seconds):
            for line in lines:
                if not messages.is_block(line):
                    return Results(blocks, messages.decode_response(line))
                blocks.append(line)
            if not lines:
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
                env=without_secrets(OMP_NUM_THREADS="1", **{messages.FD_VARIABLE: str(responses)}),
            )
        except OSError:
            os.close(self._responses)
            raise
        finally:
            os.close(responses)


@cache
def inference_client() -> InferenceClient:
    return InferenceClient()
