"""Requests to Heimdall's REST API over one connection that is kept open."""

from __future__ import annotations

import gzip
import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

API = "/api/v1/training"
TIMEOUT_SECONDS = 20.0
_COMPRESS_FROM = 1_000  # bytes
_RETRY_STATUSES = (401, 403, 408, 425, 429)

JsonDict = dict[str, Any]


class UnavailableError(Exception):
    """The request may succeed later."""

    def __init__(self, message: str, status: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class RefusedError(Exception):
    """The same request would be refused again."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ApiClient:
    def __init__(self, url: str, token: str, api: str = API) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"HEIMDALL_URL is {url!r}; it must look like http://heimdall.example.org:8001"
            )
        self.url = url.rstrip("/")
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + api
        self._token = token
        self._compress = True
        self.status = 0  # of the newest response
        self.answered = 0  # requests, with a status of success
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> JsonDict:
        return self._send("GET", path, None, "application/json", {})

    def open(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """The answer to a GET, to be read piece by piece, over a separate connection."""
        connection = self._new_connection()
        try:
            # The response closes the connection.
            all_headers = {**self._headers(), **headers, "Connection": "close"}
            connection.request("GET", self._path + path, headers=all_headers)
            response = connection.getresponse()
            if 200 <= response.status < 300:
                return response
            with response:
                raise _error(response, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise UnavailableError(f"{type(error).__name__}: {error}") from error

    def post(self, path: str, body: object, *, key: str = "") -> JsonDict:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request(
            "POST", path, content, "application/json", {"Idempotency-Key": key} if key else {}
        )

    def post_text(self, path: str, text: bytes) -> JsonDict:
        return self.request("POST", path, text, "text/plain; charset=utf-8")

    def put_file(self, path: str, file: Path) -> JsonDict:
        """Upload a file without reading it into memory."""
        headers = {"Content-Length": str(file.stat().st_size)}
        with file.open("rb") as content:
            return self._send("PUT", path, content, "application/octet-stream", headers)

    def request(
        self,
        method: str,
        path: str,
        content: bytes,
        content_type: str,
        headers: dict[str, str] | None = None,
    ) -> JsonDict:
        """Send the content, compressed unless the server does not accept that."""
        headers = headers or {}
        if self._compress and len(content) >= _COMPRESS_FROM:
            compressed = gzip.compress(content, compresslevel=1, mtime=0)
            encoding = {**headers, "Content-Encoding": "gzip"}
            try:
                return self._send(method, path, compressed, content_type, encoding)
            except RefusedError as error:
                if error.status != 415:
                    raise
                self._compress = False
        return self._send(method, path, content, content_type, headers)

    def _send(
        self, method: str, path: str, content: Any, content_type: str, headers: dict[str, str]
    ) -> JsonDict:
        """Raise UnavailableError or RefusedError unless the status is 2xx."""
        all_headers = {
            **self._headers(),
            "Accept": "application/json",
            "Content-Type": content_type,
            **headers,
        }
        try:
            if self._connection is None:
                self._connection = self._new_connection()
            self._connection.request(method, self._path + path, content, all_headers)
            response = self._connection.getresponse()
            answer = response.read()
            self.status = response.status
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnavailableError(f"{type(error).__name__}: {error}") from error
        if 200 <= response.status < 300:
            self.answered += 1
            return _json_object(answer)
        if response.getheader("Connection", "").lower() == "close":
            self.close()
        raise _error(response, answer)

    def _new_connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=TIMEOUT_SECONDS)

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "heimdall-sdk"}
        return {**headers, "Authorization": f"Bearer {self._token}"} if self._token else headers

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def quoted(name: str) -> str:
    return quote(name, safe="/")


def _json_object(answer: bytes) -> JsonDict:
    try:
        value = json.loads(answer or b"{}")
    except ValueError as error:
        # A proxy or a login page answers in its place.
        raise UnavailableError(f"The answer is not JSON: {answer[:80]!r}") from error
    return value if isinstance(value, dict) else {}


def _error(response: http.client.HTTPResponse, answer: bytes) -> UnavailableError | RefusedError:
    message = f"{response.status}: {_detail(answer)}"
    # Also a 409: the process that received the request first may have been killed.
    seconds = response.getheader("Retry-After") or ""
    if response.status >= 500 or response.status in _RETRY_STATUSES or seconds:
        return UnavailableError(
            message, response.status, float(seconds) if seconds.isdigit() else 0.0
        )
    return RefusedError(message, response.status)


def _detail(answer: bytes) -> str:
    """The problem's detail, or the sentences of its invalid fields."""
    try:
        problem = json.loads(answer)
        errors = problem.get("errors")
        if isinstance(errors, dict) and errors:
            return " ".join(
                f"{field}: {sentence}" for field, found in errors.items() for sentence in found
            )
        return str(problem.get("detail") or problem.get("title") or problem)
    except (ValueError, AttributeError, TypeError):
        return answer[:200].decode(errors="replace")
