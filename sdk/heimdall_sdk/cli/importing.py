"""`heimdall import`: runs that other tools have recorded become reported jobs."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing

from heimdall_sdk.api_client import ApiClient, JsonDict, UnavailableError
from heimdall_sdk.cli.credentials import load_credentials
from heimdall_sdk.cli.errors import CommandError, UsageError
from heimdall_sdk.cli.import_display import open_display
from heimdall_sdk.cli.server import Server
from heimdall_sdk.importing.importer import Importer, examine_all
from heimdall_sdk.importing.recognize import read_recording
from heimdall_sdk.importing.runs import (
    Omissions,
    RecordedRun,
    Recording,
    UnreadableError,
    join_parts,
)
from heimdall_sdk.importing.upload import ImportedRun, Options, QuotaError
from heimdall_sdk.text import count_of

AGAIN = "Run the same command again to continue; no run is imported twice."


def import_runs(arguments: argparse.Namespace) -> int:
    options = Options(
        arguments.project, arguments.name, tuple(arguments.tag), _objective(arguments.objective),
        arguments.steps_are_epochs,
    )  # fmt: skip
    found = [_read(text, arguments.step) for text in arguments.paths]
    recordings = [one for one in found if one is not None]
    errors = len(found) - len(recordings)
    runs = join_parts(run for recording in recordings for run in recording.runs)
    summary = Summary()
    for recording in recordings:
        summary.omissions.counts.update(recording.omissions.counts)
    display = open_display(len(runs), as_json=arguments.json)
    try:
        # Closing it stops the threads that send.
        with closing(_results(runs, options, arguments)) as results:
            for result in results:
                summary.add(result)
                display.show(result)
    except KeyboardInterrupt:
        raise CommandError(f"Interrupted. {AGAIN}") from None
    finally:
        display.close()
    summary.print(as_json=arguments.json)
    return int(bool(errors or summary.outcomes["failed"]))


def _read(text: str, step_column: str | None) -> Recording | None:
    try:
        return read_recording(text, step_column)
    except (UnreadableError, OSError) as error:
        print(f"heimdall: {error}", file=sys.stderr)
        return None


def _results(
    runs: Sequence[RecordedRun], options: Options, arguments: argparse.Namespace
) -> Generator[ImportedRun, None, None]:
    if arguments.dry_run:
        yield from examine_all(runs, options)
        return
    if not runs:
        return
    credentials = load_credentials()
    # Also says what is wrong with the URL.
    server = Server(credentials)

    def connect() -> ApiClient:
        return ApiClient(credentials.url, credentials.token)

    try:
        with closing(Importer(connect, options).import_all(runs)) as results:
            yield from results
    except QuotaError as error:
        raise CommandError(f"{error} {AGAIN}") from error
    except UnavailableError as error:
        raise CommandError(f"{server.describe(error)} {AGAIN}") from error


class Summary:
    """The counts of all runs."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.omissions = Omissions()
        self._rejected: Counter[str] = Counter()
        self._points = self._values = self._artifacts = 0
        self._started = time.monotonic()

    def add(self, result: ImportedRun) -> None:
        self.outcomes[result.outcome] += 1
        self.omissions.counts.update(result.omissions.counts)
        self._rejected.update(result.rejected)
        self._points += result.points
        self._values += result.values
        self._artifacts += result.artifacts

    def print(self, *, as_json: bool) -> None:
        if as_json:
            return
        seconds = time.monotonic() - self._started
        counts = ", ".join(
            f"{self.outcomes[outcome]:,} {phrase}"
            for outcome, phrase in _PHRASES.items()
            if self.outcomes[outcome]
        )
        if not counts:
            return
        print(f"Runs: {counts}.")
        print(
            f"{count_of(self._values, 'value')} in {count_of(self._points, 'point')} and "
            f"{count_of(self._artifacts, 'artifact')} in {seconds:.1f} s."
        )
        for reason, count in self._rejected.items():
            print(f"Rejected: {reason}" + (f" ({count:,} points)" if count > 1 else ""))
        for sentence in self.omissions.sentences():
            print(f"No counterpart: {sentence}")
        sys.stdout.flush()


_PHRASES = {
    "imported": "imported", "continued": "continued", "already there": "already there",
    "empty": "without numbers and not imported", "failed": "failed", "not sent": "to import",
}  # fmt: skip


def _objective(text: str | None) -> JsonDict | None:
    if not text:
        return None
    metric, _, direction = text.rpartition(":")
    if direction not in ("minimize", "maximize"):
        metric, direction = text, "minimize"
    if not metric:
        raise UsageError(f"--objective {text!r} is not METRIC or METRIC:maximize.")
    return {"metric": metric, "direction": direction}
