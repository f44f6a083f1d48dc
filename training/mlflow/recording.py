"""Recording of metrics, parameters and tags in a job, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from heimdall_sdk.text import TextError, clean_name, clean_notes, normalize_name, normalize_text
from training.jobs import reports
from training.jobs.config_limits import config_problem
from training.mlflow import messages as m
from training.mlflow.columns import require_room
from training.mlflow.errors import invalid, not_found
from training.mlflow.run_rows import INPUTS, NOTE, RUN_NAME, params_of, writable_run
from training.models import Job, MlflowRun
from training.points.rows import InvalidPointError, PointReader, Row

MAX_NAME, MAX_NOTES = 200, 20_000
MAX_LABELS, MAX_LABEL = 20, 50
_OF_MLFLOW = "mlflow."


def record(
    user: User,
    run_id: str,
    metrics: Sequence[m.Metric] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Record all values, or raise MlflowError and record none."""
    points = as_points(metrics)
    with transaction.atomic():
        locked = writable_run(user, run_id, lock=True)
        changes: dict[str, Any] = {}
        if params or tags:
            more, _ = MlflowRun.objects.defer(*INPUTS).get_or_create(
                job=locked, defaults={"user_id": locked.owner.username}
            )
            changes = {
                **_add_params(locked, more, params or {}),
                **set_tags(locked, more, tags or {}),
            }
            # The row is not locked: other requests add inputs or delete the run.
            more.save(update_fields=["tags", "params"])
        rejected = reports.record_points(locked, points, user.username, **changes)
        if rejected:
            raise invalid(rejected[0].reason)


def as_points(metrics: Iterable[m.Metric]) -> dict[int, Row]:
    """Points by position; metrics with equal step and time share a point unless a name repeats."""
    values: dict[tuple[int, int, int], dict[str, float]] = {}
    counts: Counter[tuple[int, int, str]] = Counter()
    for metric in metrics:
        key = (metric.step, metric.timestamp, metric.key)
        values.setdefault((metric.step, metric.timestamp, counts[key]), {})[metric.key] = (
            metric.value
        )
        counts[key] += 1
    reader, rows = PointReader(), {}
    for position, ((step, timestamp, _), named) in enumerate(values.items()):
        row = Row(step, timestamp / 1000, None, named)
        try:
            reader.check(row)
        except InvalidPointError as error:
            raise invalid(str(error)) from error
        rows[position] = row
    return rows


def delete_tag(user: User, run_id: str, key: str) -> None:
    with transaction.atomic():
        locked = writable_run(user, run_id, lock=True)
        more = MlflowRun.objects.filter(job=locked).first()
        if key == NOTE and locked.notes:
            changes: dict[str, Any] = {"notes": ""}
        elif more is not None and key in more.tags:
            changes = {"tags": _with_label(locked.tags, key, more.tags.pop(key), None)}
            more.save(update_fields=["tags"])
        else:
            raise not_found(f"No tag with name: {key} in run with id {locked.pk.hex}")
        reports.record_points(locked, {}, user.username, **changes)


def set_tags(job: Job, more: MlflowRun, tags: Mapping[str, str]) -> dict[str, Any]:
    """Set the tags in the row, which the caller saves; return the changes of the job.

    Tags of the user are labels of the job too, as far as there is room.
    """
    changes: dict[str, Any] = {}
    labels, is_changed = list(job.tags), False
    for key, value in tags.items():
        if key == RUN_NAME:
            # Cleaned again, because the remaining characters may be invisible.
            changes["name"] = clean_name(clean_name(value)[:MAX_NAME])
        elif key == NOTE:
            # Some characters become several in NFC.
            changes["notes"] = normalize_text(clean_notes(value))[:MAX_NOTES]
        else:
            labels = _with_label(labels, key, more.tags.get(key), value)
            more.tags[key] = value
            is_changed = True
    if is_changed:
        require_room("tags", more.tags)
    if labels != job.tags:
        changes["tags"] = labels
    return changes


def _add_params(job: Job, more: MlflowRun, params: Mapping[str, str]) -> dict[str, Any]:
    known = params_of(job, more)
    for key, value in params.items():
        if known.get(key, value) != value:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{key}' was already logged "
                f"with value='{known[key]}' for run ID='{job.pk.hex}'. Attempted logging new value "
                f"'{value}'."
            )
    new = {key: value for key, value in params.items() if key not in known}
    if not job.reported:
        more.params = {**more.params, **new}
        require_room("parameters", more.params)
        return {}
    if not new:
        return {}
    config = {**job.config, **new}
    if problem := config_problem(config):
        raise invalid(problem)
    return {"config": config}


def _with_label(
    labels: Sequence[str], key: str, before: str | None, after: str | None
) -> list[str]:
    """The labels, with that of the tag replaced; `before` or `after` None: no such tag."""
    old = _label(key, before) if before is not None else ""
    kept = [label for label in labels if label != old]
    new = _label(key, after) if after is not None else ""
    if not new or new in kept or len(kept) >= MAX_LABELS:
        return kept
    return [*kept, new]


def _label(key: str, value: str) -> str:
    """Empty if the tag cannot be a label."""
    if key.startswith(_OF_MLFLOW):
        return ""
    try:
        label = normalize_name(f"{key}: {value}" if value else key)
    except TextError:
        return ""
    return label if len(label) <= MAX_LABEL else ""
