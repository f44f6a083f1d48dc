"""Sends recorded runs as reported jobs; a run that was sent before is completed, not doubled."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from heimdall_sdk.api_client import ApiClient, JsonDict, RefusedError, quoted
from heimdall_sdk.importing.runs import Omissions, RecordedRun
from heimdall_sdk.reporter import PointTuple, json_point
from heimdall_sdk.sender import BATCH_BYTES, BATCH_POINTS
from heimdall_sdk.start import MAX_NAME, MAX_TAG, MAX_TAGS
from heimdall_sdk.text import clean_name, clean_notes, clean_values

MAX_NOTES = 20_000


@dataclass(frozen=True)
class Options:
    """What the command line adds to, or changes in, the runs."""

    project: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    objective: JsonDict | None = None
    steps_are_epochs: bool = False


@dataclass
class ImportedRun:
    """What became of a run. `created` is false if it had been imported before."""

    source: str
    name: str
    job_id: str
    created: bool
    points: int
    artifacts: int
    rejected: list[str] = field(default_factory=list)
    without_counterpart: list[str] = field(default_factory=list)


def import_run(client: ApiClient, run: RecordedRun, options: Options) -> ImportedRun:
    """Raises UnreadableError before anything is sent, RefusedError, UnavailableError."""
    omissions = Omissions(run.omissions.counts.copy())
    count = sum(1 for _ in run.read_points(omissions))
    name = options.name or run.name
    result = ImportedRun(str(run.source), name, "", False, count, 0)
    if not count and not run.config:
        result.without_counterpart = [*omissions.sentences(), "it has no numbers: not imported"]
        return result
    tag = f"import:{run.identity}"
    known = client.get(f"/jobs?tag={tag}")["results"]
    result.created = not known
    result.job_id = known[0]["id"] if known else _register(client, run, options, tag)
    _send_points(client, run, options, result)
    _send_artifacts(client, run, result)
    if run.status is None:
        result.without_counterpart.append("its end: it was still running when it was recorded")
    else:
        _finish(client, run.status, result)
    result.without_counterpart += omissions.sentences()
    return result


def _register(client: ApiClient, run: RecordedRun, options: Options, tag: str) -> str:
    cleaned = [clean_name(one)[:MAX_TAG] for one in (*options.tags, *run.tags)]
    tags = [one for one in cleaned if one][: MAX_TAGS - 1]
    body = {
        "name": clean_name(options.name or run.name)[:MAX_NAME].strip(),
        "project": clean_name(options.project or run.project or ""),
        "config": clean_values(run.config),
        "tags": [*tags, tag],
        "notes": clean_notes(run.notes)[:MAX_NOTES],
        "objective": options.objective,
    }
    body = {name: value for name, value in body.items() if value not in (None, "", [], {})}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    job_id = str(client.post("/reports", body, key=digest)["id"])
    try:
        client.get(f"/jobs/{job_id}")
    except RefusedError as error:
        if error.status != 404:
            raise
        # It was imported and deleted within a day: the key would return the deleted one.
        job_id = str(client.post("/reports", body, key=uuid.uuid4().hex)["id"])
    return job_id


def _send_points(
    client: ApiClient, run: RecordedRun, options: Options, result: ImportedRun
) -> None:
    for points in _batches(run.read_points(Omissions()), options):
        content = b",".join(points)
        # The number follows from the content: the same batch is applied once.
        number = int.from_bytes(hashlib.sha256(content).digest()[:7], "big")
        body = b'{"batch":"import-%s-%d","points":[%s]}' % (
            run.identity.encode(), number, content,
        )  # fmt: skip
        answer = client.post(f"/reports/{result.job_id}/points", body)
        result.rejected += [str(one["reason"]) for one in answer.get("rejected", [])]
    result.points -= len(result.rejected)


def _batches(points: Iterator[PointTuple], options: Options) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for point in points:
        step, time, epoch, values = point
        if options.steps_are_epochs and epoch is None:
            epoch = step
        line = json.dumps(json_point((step, time, epoch, values))).encode()
        if batch and (len(batch) == BATCH_POINTS or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield batch


def _send_artifacts(client: ApiClient, run: RecordedRun, result: ImportedRun) -> None:
    if not run.artifacts:
        return
    path = f"/jobs/{result.job_id}/artifacts"
    stored: dict[str, Any] = {one["name"]: one["bytes"] for one in client.get(path)["results"]}
    for file, name in run.artifacts:
        if stored.get(name) != file.stat().st_size:
            try:
                client.put_file(f"{path}/{quoted(name)}", file)
            except RefusedError as error:
                result.without_counterpart.append(f"the artifact {name}: {error}")
                continue
        result.artifacts += 1


def _finish(client: ApiClient, status: str, result: ImportedRun) -> None:
    try:
        client.post(f"/reports/{result.job_id}/finish", {"status": status})
    except RefusedError as error:
        if error.status != 409:
            raise
        result.without_counterpart.append(f"its end: {error}")
