"""Send the reports that earlier runs stored and could not send: `heimdall sync`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from heimdall_sdk.api_client import ApiClient, UnavailableError
from heimdall_sdk.sender import GoneError, Sender
from heimdall_sdk.spool import SendState, Spool, spool_directory

URL_VARIABLE, TOKEN_VARIABLE = "HEIMDALL_URL", "HEIMDALL_TOKEN"
_ATTEMPTS = 5


@dataclass(frozen=True)
class SyncedRun:
    """The result of sending one run's spool."""

    client_id: str
    name: str
    job_id: str
    points: int
    error: str = ""  # empty: everything was sent and the spool is deleted


def sync_spool(
    url: str | None = None,
    token: str | None = None,
    directory: str | os.PathLike[str] | None = None,
    report: Callable[[SyncedRun], None] | None = None,
) -> list[SyncedRun]:
    """Send the spools of all runs that have ended; those of running ones are left alone.

    URL and token are by default those of the environment. Raises ValueError without them. It may
    be interrupted and repeated: nothing is sent twice.
    """
    url = url or os.environ.get(URL_VARIABLE, "")
    token = token or os.environ.get(TOKEN_VARIABLE, "")
    if not url or not token:
        raise ValueError(f"Set {URL_VARIABLE} and {TOKEN_VARIABLE}, or pass url and token.")
    results = []
    for spool in unsent_spools(Path(directory) if directory else spool_directory()):
        result = _sync(spool, ApiClient(url, token))
        results.append(result)
        if report is not None:
            report(result)
    return results


def unsent_spools(directory: Path) -> Iterator[Spool]:
    """Yield the spools that no process writes, locked, the oldest first."""
    if not directory.is_dir():
        return
    folders = [path.parent for path in directory.glob("*/run.json")]
    for folder in sorted(folders, key=lambda path: (path / "run.json").stat().st_mtime):
        spool = Spool(folder)
        if spool.try_lock():
            try:
                yield spool
            finally:
                spool.close()


def _sync(spool: Spool, client: ApiClient) -> SyncedRun:
    name, sender = "", None
    try:
        name = str(spool.registration.get("name") or "")
        state = spool.load()
        if not state.finished:
            _end_if_killed(spool)
        sender = Sender(spool, client, state)
        sender.hurry()
        _send_all(sender, state)
    except (UnavailableError, GoneError, OSError, ValueError) as error:
        points, job_id = (sender.sent_points, sender.job_id) if sender else (0, "")
        return SyncedRun(spool.client_id, name, job_id, points, str(error))
    finally:
        client.close()
    spool.delete()
    return SyncedRun(spool.client_id, name, state.job_id, sender.sent_points)


def _send_all(sender: Sender, state: SendState) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            sender.step()
        except UnavailableError as error:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(max(0.25 * 2**attempt, error.retry_after))
        if state.finished:
            return


def _end_if_killed(spool: Spool) -> None:
    """A process that was killed left no record of its end."""
    if not spool.ends_with_finish():
        spool.append(
            b'{"record":"finish","status":"failed","error_message":'
            b'"The process of the training ended without reporting its end."}\n'
        )
