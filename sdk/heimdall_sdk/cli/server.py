"""Requests of the commands; every failure is a sentence."""

from __future__ import annotations

import contextlib
import http.client
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlencode, urlsplit

from heimdall_sdk.api_client import API, ApiClient, JsonDict, RefusedError, UnavailableError
from heimdall_sdk.cli.credentials import Credentials, load_credentials
from heimdall_sdk.cli.errors import CommandError

Parameters = Mapping[str, "str | int | Sequence[str] | None"]
PAGE_SIZE = 200
# Before a request is repeated: a connection that was closed while idle needs no delay.
DELAYS = (0.0, 0.5, 2.0)
MAX_DELAY_SECONDS = 10.0
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


class Server:
    def __init__(self, credentials: Credentials, api: str = API) -> None:
        try:
            self.client = ApiClient(credentials.url, credentials.token, api)
        except ValueError as error:
            raise CommandError(f"{error}.") from error

    def get(self, path: str, parameters: Parameters | None = None) -> JsonDict:
        with self.sentences():
            return self._retried(lambda: self.client.get(with_query(path, parameters)))

    def post(self, path: str, body: object, *, key: str = "") -> JsonDict:
        """With a key the request is repeated while the server cannot be reached."""
        with self.sentences():
            if not key:
                return self.client.post(path, body)
            return self._retried(lambda: self.client.post(path, body, key=key))

    def open(self, path: str, parameters: Parameters | None = None) -> http.client.HTTPResponse:
        with self.sentences():
            return self.client.open(with_query(path, parameters), {"Accept": "*/*"})

    def rows(self, path: str, parameters: Parameters, limit: int) -> list[JsonDict]:
        """The first rows of a list, from as many pages as needed."""
        found: list[JsonDict] = []
        page_size = max(1, min(limit, PAGE_SIZE))
        query = with_query("", {**parameters, "page_size": page_size})
        while len(found) < limit:
            page = self.get(path + query)
            found += page["results"]
            if not page["next"]:
                break
            query = f"?{urlsplit(page['next']).query}"
        return found[:limit]

    def job_id(self, text: str) -> str:
        """The ID that begins with the text."""
        prefix = text.strip().lower()
        if _UUID.fullmatch(prefix):
            return prefix
        found = self.rows("/jobs", {"id": prefix}, 4)
        if not found:
            raise CommandError(f"No job has an ID that begins with {text!r}.")
        if len(found) > 1:
            ids = ", ".join(str(job["id"])[: len(prefix) + 8] for job in found[:3])
            raise CommandError(
                f"{text!r} is the beginning of several IDs ({ids}{', …' * (len(found) > 3)}); "
                "type more of it."
            )
        return str(found[0]["id"])

    def job(self, text: str) -> JsonDict:
        return self.get(f"/jobs/{self.job_id(text)}")

    @contextlib.contextmanager
    def sentences(self) -> Iterator[None]:
        """Turn failed requests into errors of the command."""
        try:
            yield
        except (RefusedError, UnavailableError) as error:
            raise CommandError(self.describe(error)) from error

    def describe(self, error: RefusedError | UnavailableError) -> str:
        message = str(error).removeprefix(f"{error.status}: ")
        if not error.status:
            return f"{self.client.url} cannot be reached ({message})."
        if error.status == 401:
            return f"{self.client.url} does not accept the token; run `heimdall login`. {message}"
        return message

    def _retried(
        self, request: Callable[[], JsonDict], delays: Sequence[float] = DELAYS
    ) -> JsonDict:
        try:
            return request()
        except UnavailableError as error:
            if not delays or error.status in (401, 403):
                raise
            time.sleep(min(max(delays[0], error.retry_after), MAX_DELAY_SECONDS))
        return self._retried(request, delays[1:])


@contextlib.contextmanager
def connect() -> Iterator[Server]:
    server = Server(load_credentials())
    try:
        yield server
    finally:
        server.client.close()


def with_query(path: str, parameters: Parameters | None) -> str:
    given = {
        name: value for name, value in (parameters or {}).items() if value not in (None, "", [])
    }
    return f"{path}?{urlencode(given, doseq=True)}" if given else path
