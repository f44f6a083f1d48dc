"""Sends one recorded run as a reported job, or its missing data if it was sent before."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Literal

from heimdall_sdk.api_client import ApiClient, JsonDict, RefusedError, quoted
from heimdall_sdk.config import fit_config, to_json
from heimdall_sdk.importing.runs import Omissions, RecordedRun
from heimdall_sdk.reporter import PointTuple, json_point
from heimdall_sdk.sender import BATCH_BYTES
from heimdall_sdk.start import MAX_NAME, MAX_TAG, MAX_TAGS
from heimdall_sdk.text import clean_name, clean_notes, clean_values

MAX_NOTES = 20_000
BATCH_POINTS = 10_000
# Batches of a run that stay in memory between reading and sending; a longer run is read twice.
HELD_BATCHES = 8
# Earlier times are not those of a clock, such as the seconds since the start of a training.
EARLIEST_SECONDS = 1e8
CREATED = 201

# Of series, on the server.
MAX_METRIC_NAME = 250

Outcome = Literal["imported", "continued", "already there", "empty", "failed", "not sent"]


class QuotaError(Exception):
    """The server accepts no more runs of this user; the message says why."""


@dataclass(frozen=True)
class Options:
    """Options of the command line that change the imported runs."""

    project: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    objective: JsonDict | None = None
    steps_are_epochs: bool = False


@dataclass
class ImportedRun:
    """The result of a run's import.

    `continued`: an earlier import was interrupted, or the run has grown since. `not sent`: by a dry
    run.
    """

    source: str
    name: str
    project: str
    outcome: Outcome = "empty"
    job_id: str = ""
    points: int = 0
    values: int = 0
    artifacts: int = 0
    rejected: list[str] = field(default_factory=list)
    omissions: Omissions = field(default_factory=Omissions)
    error: str = ""

    def as_json(self) -> JsonDict:
        omitted = self.omissions.sentences()
        return {**asdict(self), "omissions": omitted, "created": self.outcome == "imported"}


@dataclass
class _Content:
    """The points of a run as they are sent; without `batches`, they are read again for that."""

    batches: list[bytes] | None
    points: int = 0
    values: int = 0
    first: float = math.inf
    last: float = -math.inf


def examine_run(run: RecordedRun, options: Options) -> ImportedRun:
    """What `import_run` would send. Raises UnreadableError."""
    result, content = _begin(run, options)
    result.points, result.values = content.points, content.values
    result.artifacts = len(run.artifacts)
    if not _is_empty(run, content):
        result.outcome = "not sent"
    return result


def import_run(
    client: ApiClient, run: RecordedRun, options: Options, jobs: Mapping[str, str]
) -> ImportedRun:
    """`jobs` are the IDs of jobs by the identities of their runs.

    Everything is read before anything is sent. Raises UnreadableError, RefusedError, QuotaError,
    UnavailableError.
    """
    result, content = _begin(run, options)
    if _is_empty(run, content):
        return result
    started_at, finished_at = _period(run, content)
    registration = _registration(run, options, jobs, started_at, result)
    end = {"status": run.status, "finished_at": finished_at} if run.status else None
    # Most runs fit into one request. The end of a run comes after its artifacts.
    is_sent = False
    job: JsonDict | None = None
    if end and not run.artifacts and content.batches is not None and len(content.batches) <= 1:
        job = _register_whole(client, registration, content.batches, end)
        is_sent = job is not None and client.status == CREATED
    job = job or _register(client, registration)
    result.job_id, result.outcome = str(job["id"]), "imported"
    if client.status != CREATED:
        if run.status == job["status"] and _is_same(job["finished_at"], finished_at):
            result.outcome = "already there"
            return result
        result.outcome = "continued"
    result.points, result.values = content.points, content.values
    if not is_sent:
        batches = content.batches or _batches(run, options, Omissions(), _Content(None))
        _send_points(client, run, batches, result)
        _send_artifacts(client, run, result)
        _finish(client, end, result)
    return result


def _begin(run: RecordedRun, options: Options) -> tuple[ImportedRun, _Content]:
    result = ImportedRun(
        source=str(run.source),
        name=_name(options.name or run.name),
        project=_name(options.project or run.project or ""),
        omissions=run.omissions.copy(),
    )
    content = _Content(None)
    batches = _batches(run, options, result.omissions, content)
    held = list(islice(batches, HELD_BATCHES))
    is_long = False
    for _ in batches:
        is_long = True
    content.batches = None if is_long else held
    return result, content


def _name(text: str) -> str:
    return clean_name(text)[:MAX_NAME].strip()


def _is_empty(run: RecordedRun, content: _Content) -> bool:
    """A run of a tool that stores its start is one even without numbers, such as a parent."""
    return not (content.points or run.config or run.artifacts or run.started_at)


def _register(client: ApiClient, registration: JsonDict | bytes) -> JsonDict:
    try:
        return client.post("/reports", registration)
    except RefusedError as error:
        if error.status == 409:
            raise QuotaError(str(error).removeprefix("409: ")) from error
        raise


def _registration(
    run: RecordedRun,
    options: Options,
    jobs: Mapping[str, str],
    started_at: str | None,
    result: ImportedRun,
) -> JsonDict:
    tags = [tag for one in (*options.tags, *run.tags) if (tag := clean_name(one)[:MAX_TAG])]
    if len(tags) > MAX_TAGS:
        result.omissions.add(f"tags beyond the first {MAX_TAGS}", len(tags) - MAX_TAGS)
    parent = jobs.get(run.parent or "")
    if run.parent and not parent:
        result.omissions.add("parents that are not part of this import")
    config, problem = fit_config(clean_values(to_json(run.config)))
    if problem:
        result.omissions.add(problem.rstrip("."))
    body = {
        "external_id": external_id(run),
        "name": result.name,
        "project": result.project,
        "config": config,
        "tags": tags[:MAX_TAGS],
        "notes": clean_notes(run.notes)[:MAX_NOTES],
        "objective": options.objective,
        "parent": parent,
        "started_at": started_at,
    }
    return {name: value for name, value in body.items() if value not in (None, "", [], {})}


def _register_whole(
    client: ApiClient, registration: JsonDict, batches: list[bytes], end: JsonDict
) -> JsonDict | None:
    """Register the run with its points and its end; None if the server rejects some of them."""
    body = json.dumps({**registration, "end": end}).encode()
    try:
        return _register(client, b'%s,"points":[%s]}' % (body[:-1], b",".join(batches)))
    except RefusedError as error:
        if error.status != 400:
            raise
        return None


def external_id(run: RecordedRun) -> str:
    return f"import:{run.identity}"


def _batches(
    run: RecordedRun, options: Options, omissions: Omissions, content: _Content
) -> Iterator[bytes]:
    """The points of each request in JSON; counts them in `content`."""
    lines: list[bytes] = []
    size = 0
    names = _MetricNames(omissions)
    for step, time, given, recorded in run.read_points(omissions):
        if not (values := names.clean(recorded)):
            continue
        if not math.isfinite(time):
            omissions.add("points at a time that is not a number")
            continue
        epoch = step if options.steps_are_epochs and given is None else given
        line = _json_line((step, time, epoch, values))
        if lines and (len(lines) == BATCH_POINTS or size + len(line) > BATCH_BYTES):
            yield b",".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
        content.points += 1
        content.values += len(values)
        content.first, content.last = min(content.first, time), max(content.last, time)
    if lines:
        yield b",".join(lines)


class _MetricNames:
    """The server rejects a point with a name that it does not allow."""

    def __init__(self, omissions: Omissions) -> None:
        self._omissions = omissions
        self._valid: set[str] = set()
        self._replacements: dict[str, str] = {}

    def clean(self, values: dict[str, float]) -> dict[str, float]:
        if values.keys() <= self._valid:
            return values
        renamed = {self._clean(name): value for name, value in values.items()}
        return {name: value for name, value in renamed.items() if name}

    def _clean(self, name: str) -> str:
        if name not in self._replacements:
            allowed = "".join(one if one.isprintable() else " " for one in clean_name(name))
            self._replacements[name] = allowed[:MAX_METRIC_NAME].strip()
            if self._replacements[name] == name:
                self._valid.add(name)
            else:
                self._omissions.add("names of metrics as they were: some characters are replaced")
        return self._replacements[name]


def _json_line(point: PointTuple) -> bytes:
    return json.dumps(json_point(point), separators=(",", ":")).encode()


def _send_points(
    client: ApiClient, run: RecordedRun, batches: Iterator[bytes] | list[bytes], result: ImportedRun
) -> None:
    for points in batches:
        # The number follows from the content: the same batch is applied once.
        number = int.from_bytes(hashlib.sha256(points).digest()[:7], "big")
        batch = b"import-%s-%d" % (run.identity.encode(), number)
        body = b'{"batch":"%s","points":[%s]}' % (batch, points)
        answer = client.post(f"/reports/{result.job_id}/points", body)
        result.rejected += [str(one["reason"]) for one in answer.get("rejected", [])]
    result.points -= len(result.rejected)


def _send_artifacts(client: ApiClient, run: RecordedRun, result: ImportedRun) -> None:
    if not run.artifacts:
        return
    path = f"/jobs/{result.job_id}/artifacts"
    stored: dict[str, Any] = {}
    if result.outcome == "continued":
        stored = {one["name"]: one["bytes"] for one in client.get(path)["results"]}
    for file, name in run.artifacts:
        try:
            if stored.get(name) != file.stat().st_size:
                client.put_file(f"{path}/{quoted(name)}", file)
        except (RefusedError, OSError) as error:
            result.omissions.add(f"the artifact {name}: {error}")
            continue
        result.artifacts += 1


def _finish(client: ApiClient, end: JsonDict | None, result: ImportedRun) -> None:
    if end is None:
        result.omissions.add("ends of runs that were still running when they were recorded")
        return
    try:
        client.post(f"/reports/{result.job_id}/finish", end)
    except RefusedError as error:
        if error.status != 409:
            raise
        result.omissions.add(f"the end as {end['status']}: {error}")


def _period(run: RecordedRun, content: _Content) -> tuple[str | None, str | None]:
    """When the run began and ended, as the API has it."""
    start, end = run.started_at, run.finished_at
    if content.points:
        first, last = content.first, content.last
        if first < EARLIEST_SECONDS:
            # Seconds of the run, which cannot have ended after its file was written.
            modified = run.source.stat().st_mtime
            first, last = max(0.0, modified - max(last - first, 0.0)), modified
        start = first if start is None else start
        end = last if end is None else end
    # Without a start, the server would take the time of the import, which is after the end.
    start = end if start is None else start
    if start is not None:
        end = max(start, end or start)
    return _moment(start), _moment(end)


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(round(seconds, 3), timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat().replace("+00:00", "Z")


def _is_same(stored: str | None, recorded: str | None) -> bool:
    return recorded is None or stored == recorded
