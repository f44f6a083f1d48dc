"""A job as a folder of MLflow's file store: `mlflow ui --backend-store-uri mlruns`.

The zips of several jobs can be unpacked into one folder: each is a run of the same experiment.
https://github.com/mlflow/mlflow/blob/master/mlflow/store/tracking/file_store.py
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from training.api.exports.tabular import epoch_pages
from training.jobs import artifacts
from training.models import Job, TrainedModel
from training.models.states import Status
from training.programs.checkpoint_files import MODEL

EXPERIMENT, EXPERIMENT_ID = "Heimdall", "726573651908451337"
BLOCK_SIZE = 1 << 18
# A file of the zip is written at once, so the lines of a metric are held together.
LINES_AT_ONCE = 500_000
# RunStatus of MLflow.
_STATUS = {Status.QUEUED: 2, Status.COMPLETED: 3, Status.FAILED: 4, Status.CANCELLED: 5}
_RUNNING = 1
# Characters that YAML allows only as escapes (YAML 1.2, 5.1), and line breaks of YAML 1.1.
_NOT_PRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
# The beginning of a part of a path that is empty, "." or "..".
_RELATIVE_PART = re.compile(r"(^|/)(?=/|$|\.{1,2}(?:/|$))")


def mlruns_zip(job: Job) -> Iterator[bytes]:
    """Written to a temporary file first, since a zip ends with its table of contents."""
    with tempfile.TemporaryFile() as file:
        with ZipFile(file, "w", ZIP_DEFLATED) as pack:
            _write(pack, job)
        file.seek(0)
        while block := file.read(BLOCK_SIZE):
            yield block


def _write(pack: ZipFile, job: Job) -> None:
    run_id, started_at = job.pk.hex, _ms(job.started_at or job.created_at)
    experiment = f"mlruns/{EXPERIMENT_ID}"
    run = f"{experiment}/{run_id}"
    pack.writestr(f"{experiment}/meta.yaml", _yaml(
        artifact_location=experiment, experiment_id=EXPERIMENT_ID, name=EXPERIMENT,
        lifecycle_stage="active", creation_time=started_at, last_update_time=started_at,
    ))  # fmt: skip
    pack.writestr(f"{run}/meta.yaml", _yaml(
        artifact_uri=f"{run}/artifacts", experiment_id=EXPERIMENT_ID, run_id=run_id,
        run_uuid=run_id, run_name=str(job), user_id=job.owner.username, start_time=started_at,
        end_time=_ms(job.finished_at) if job.finished_at else None, lifecycle_stage="active",
        status=_STATUS.get(Status(job.status), _RUNNING), source_type=4, source_name="",
        source_version="", entry_point_name="", tags=[],
    ))  # fmt: skip
    for name, value in job.config.items():
        pack.writestr(
            f"{run}/params/{_file_name(name)}",
            value if isinstance(value, str) else json.dumps(value),
        )
    for names in _groups(_count_values(job)):
        for name, lines in _metrics(job, names).items():
            pack.writestr(f"{run}/metrics/{_file_name(name)}", "".join(lines))
    pack.mkdir(f"{run}/artifacts")
    packed = set[str]()
    for artifact in artifacts.list_artifacts(job):
        if artifact.kind in ("model", "card") and artifact.path.exists():
            pack.write(artifact.path, f"{run}/artifacts/{artifact.name}", ZIP_STORED)
            packed.add(artifact.name)
    tags = _tags(job)
    if MODEL not in packed and TrainedModel.objects.filter(job=job).exists():
        tags["heimdall.missing"] = f"The file of the model, {MODEL}, was deleted."
    for name, text in tags.items():
        pack.writestr(f"{run}/tags/{name}", text)


def _file_name(name: str) -> str:
    """The name as a path that stays below its folder wherever the zip is unpacked."""
    return _RELATIVE_PART.sub(r"\1_", name.replace("\\", "_"))


def _count_values(job: Job) -> Counter[str]:
    return Counter(
        name
        for page in epoch_pages(job)
        for epoch in page
        for name, value in epoch.metrics.items()
        if value is not None
    )


def _groups(counts: Counter[str]) -> Iterator[list[str]]:
    """The metrics in groups of at most LINES_AT_ONCE lines, each of at least one metric."""
    group: list[str] = []
    lines = 0
    for name, count in counts.items():
        if group and lines + count > LINES_AT_ONCE:
            yield group
            group, lines = [], 0
        group.append(name)
        lines += count
    if group:
        yield group


def _metrics(job: Job, names: Collection[str]) -> dict[str, list[str]]:
    """Lines by metric: milliseconds, value, epoch."""
    lines: dict[str, list[str]] = {name: [] for name in names}
    for page in epoch_pages(job):
        for epoch in page:
            for name, value in epoch.metrics.items():
                if value is not None and name in lines:
                    lines[name].append(f"{_ms(epoch.at)} {value} {epoch.epoch}\n")
    return lines


def _tags(job: Job) -> dict[str, str]:
    return {
        "mlflow.runName": str(job),
        "mlflow.user": job.owner.username,
        "mlflow.note.content": job.notes,
        "heimdall.job_id": str(job.pk),
        "heimdall.dataset": job.dataset_hash,
        "heimdall.tags": ", ".join(job.tags),
    }


def _yaml(**values: Any) -> str:
    """JSON is YAML, but for its escapes of characters beyond U+FFFF: write those unescaped."""
    text = json.dumps(values, indent=1, ensure_ascii=False)
    return _NOT_PRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
