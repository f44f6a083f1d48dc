"""Sends the runs of a recording, several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from heimdall_sdk.api_client import ApiClient, RefusedError, UnavailableError
from heimdall_sdk.importing.runs import RecordedRun, UnreadableError, by_generation
from heimdall_sdk.importing.upload import (
    ImportedRun,
    Options,
    QuotaError,
    examine_run,
    import_run,
)
from heimdall_sdk.text import clean_name, clean_text

# Each has a connection. With more, a web process with one core becomes no faster.
CONNECTIONS = 4
# A server that restarts is back within this time.
PATIENCE_SECONDS = 120.0
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.25, 10.0


class Importer:
    """Imports each run once; `jobs` are the IDs of jobs by the identities of their runs."""

    def __init__(
        self, connect: Callable[[], ApiClient], options: Options, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._connect, self._options, self._patience = connect, options, patience
        self._clients = threading.local()
        self._opened: list[ApiClient] = []
        self._stop = threading.Event()
        self.jobs: dict[str, str] = {}

    def import_all(self, runs: Sequence[RecordedRun]) -> Generator[ImportedRun, None, None]:
        """Yield the result of each run, in the order of completion.

        A run that cannot be read or is refused does not stop the others. Raises QuotaError, or
        UnavailableError if the server cannot be reached.
        """
        pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="import")
        try:
            for generation in by_generation(runs):
                futures = [pool.submit(self._import, run) for run in generation]
                for future in as_completed(futures):
                    yield future.result()
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)
            for client in self._opened:
                client.close()

    def _import(self, run: RecordedRun) -> ImportedRun:
        try:
            result = self._import_with_retries(run)
        except (QuotaError, UnavailableError):
            raise
        except Exception as error:
            return _failed(run, error)
        if result.job_id:
            self.jobs[run.identity] = result.job_id
        return result

    def _import_with_retries(self, run: RecordedRun) -> ImportedRun:
        """Retry the import of the run while the server is unavailable; it skips data it has."""
        client, furthest, deadline, delay = self._client(), -1, 0.0, 0.0
        while True:
            before = client.answered
            try:
                return import_run(client, run, self._options, self.jobs)
            except UnavailableError as error:
                now, answered = time.monotonic(), client.answered - before
                if answered > furthest:  # the server was back in between
                    deadline, delay = now + self._patience, FIRST_DELAY_SECONDS
                    furthest = answered
                if error.status in (401, 403) or now >= deadline or self._stop.is_set():
                    raise
                self._stop.wait(min(max(delay, error.retry_after), MAX_DELAY_SECONDS))
                delay *= 2

    def _client(self) -> ApiClient:
        if not hasattr(self._clients, "one"):
            self._clients.one = self._connect()
            self._opened.append(self._clients.one)
        client: ApiClient = self._clients.one
        return client


def examine_all(runs: Sequence[RecordedRun], options: Options) -> Iterator[ImportedRun]:
    """What `import_all` would send."""
    for run in runs:
        yield _examine(run, options)


def _examine(run: RecordedRun, options: Options) -> ImportedRun:
    try:
        return examine_run(run, options)
    except Exception as error:
        return _failed(run, error)


def _failed(run: RecordedRun, error: Exception) -> ImportedRun:
    """Files of other tools can cause errors of any kind, which must not stop the other runs."""
    is_named = isinstance(error, (UnreadableError, RefusedError, OSError))
    text = str(error) if is_named else f"{run.source} cannot be read ({error!r})."
    name, project = clean_name(run.name), clean_name(run.project or "")
    return ImportedRun(str(run.source), name, project, "failed", error=clean_text(text))
