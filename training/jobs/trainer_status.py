"""The status that a trainer reports: progress, time left, newest value of each metric.

It is the status that trainers send in Kubeflow, and Hugging Face's `Trainer` anywhere else. A
status repeats values until they change, and names the step at which it was sent, not the one at
which a value was logged. So a value is stored once, at the first step whose status has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from realtime import events
from training.jobs import points
from training.jobs.attempts import Attempt, SupersededError
from training.models import Job, PointIndex, TrainerPosition
from training.points import store
from training.points.limits import MAX_SERIES, MAX_STEP, refuse_name
from training.points.rows import Row

MAX_METRICS = 1000
STEP_NAMES = ("current_step", "global_step", "step")
EPOCH_NAME, TOTAL_NAME = "current_epoch", "total_steps"
# Half a unit of the last digit of `current_epoch`.
EPOCH_ROUNDING = 0.005
CAMEL_CASE = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class StatusMetric(BaseModel):
    """A metric; its value is a number as text, also `nan` and `inf`."""

    name: str
    value: str | float = Field(union_mode="left_to_right")


class TrainerStatus(BaseModel):
    """How far the training is. Each field may be missing; unknown ones are ignored."""

    model_config = CAMEL_CASE

    progress_percentage: float | None = Field(None, ge=0, le=100)
    estimated_remaining_seconds: float | None = Field(None, ge=0, le=1e10)
    last_updated_time: AwareDatetime | None = Field(None, description="By the trainer's clock.")
    metrics: list[StatusMetric] = Field(
        [],
        max_length=MAX_METRICS,
        description="`current_step`, `total_steps` and `current_epoch` say where the training is; "
        "the others become points.",
    )


class StatusBody(BaseModel):
    """The body of a request, as Kubeflow's trainers send it."""

    model_config = CAMEL_CASE

    trainer_status: TrainerStatus


@dataclass(frozen=True, slots=True)
class RefusedMetric:
    """A metric that is not stored, and why."""

    name: str
    reason: str


@dataclass(slots=True)
class _Reading:
    """The metrics of a status: those to store, and where the training is."""

    values: dict[str, float] = field(default_factory=dict)
    refused: list[RefusedMetric] = field(default_factory=list)
    step: int | None = None
    epoch: float | None = None
    total_steps: int | None = None


def record_status(attempt: Attempt, status: TrainerStatus) -> list[RefusedMetric]:
    """Store what is new in a status of the attempt, in one transaction; the lease stays as it is.

    Raises SupersededError if the attempt no longer has the job.
    """
    found, now = _read(status.metrics), timezone.now()
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(attempt.fence, pk=attempt.job_id).first()
        if job is None:
            raise SupersededError(f"attempt {attempt.number} of job {attempt.job_id} is outdated")
        changes: dict[str, Any] = {}
        percent, left = status.progress_percentage, status.estimated_remaining_seconds
        if percent is not None:
            changes["reported_percent"] = percent
        if left is not None:
            is_over = percent is not None and percent >= 100
            changes["estimated_end_at"] = None if is_over else now + timedelta(seconds=left)
        position = _position(attempt)
        index = store.open_index(job.pk)
        step = _step(found, position, index, is_over=percent == 100)
        values = _with_room(index, _new_values(index, step, found.values), found.refused)
        _move(position, step if found.step is not None or values else None, found)
        if values:
            time = (status.last_updated_time or now).timestamp()
            row = Row(step, time, None, values)
            points.store_points(job, attempt.fence, {0: row}, changes, replacing=True)
        elif changes:
            builders = []
            earliest = now - timedelta(seconds=points.ANNOUNCE_SECONDS)
            if position.announced_at is None or position.announced_at < earliest:
                position.announced_at = now
                builders.append(_progress_event)
            attempt.must_change(*builders, **changes)
        position.save()
    return found.refused


def _read(metrics: list[StatusMetric]) -> _Reading:
    found = _Reading()
    numbers: dict[str, float] = {}
    for metric in metrics:
        try:
            number = float(metric.value)
        except ValueError:
            reason = f"{str(metric.value)[:60]!r} is not a number."
        else:
            reason = refuse_name(metric.name)
            numbers[metric.name] = number
        if reason:
            numbers.pop(metric.name, None)
            found.refused.append(RefusedMetric(metric.name[:100], reason))
    for name in STEP_NAMES:
        found.step = found.step if found.step is not None else _whole(numbers.get(name))
    found.total_steps = _whole(numbers.get(TOTAL_NAME))
    epoch = numbers.get(EPOCH_NAME)
    found.epoch = epoch if epoch is not None and math.isfinite(epoch) and epoch >= 0 else None
    found.values = {
        name: number
        for name, number in numbers.items()
        if name not in (*STEP_NAMES, EPOCH_NAME, TOTAL_NAME)
    }
    return found


def _whole(number: float | None) -> int | None:
    if number is None or not math.isfinite(number) or not 0 <= number <= MAX_STEP:
        return None
    return int(number)


def _position(attempt: Attempt) -> TrainerPosition:
    """The position in this attempt; empty if the row is of an earlier attempt."""
    row = TrainerPosition.objects.filter(pk=attempt.job_id).first()
    if row is None or row.attempt != attempt.number:
        return TrainerPosition(job_id=attempt.job_id, attempt=attempt.number)
    return row


def _step(found: _Reading, position: TrainerPosition, index: PointIndex, *, is_over: bool) -> int:
    """The step of the status, or a later one than all before if it names none."""
    if found.step is not None:
        return found.step
    if is_over and position.total_steps:
        return _last_step(found.values.get("epoch"), position, position.total_steps)
    if position.step is not None:
        return position.step + 1
    return store.newest_step(index) + 1 if index.newest else 0


def _last_step(epoch: float | None, position: TrainerPosition, total: int) -> int:
    """The step at which a training ended, perhaps early: its last status names only the epoch."""
    if not epoch or not math.isfinite(epoch) or not position.step or not position.epoch:
        return total
    latest = epoch * position.step / max(position.epoch - EPOCH_ROUNDING, 1e-9)
    if latest >= total:
        return total
    return max(position.step, round(epoch * position.step / position.epoch))


def _new_values(index: PointIndex, step: int, values: Mapping[str, float]) -> dict[str, float]:
    """The values that the job does not have yet.

    Those of steps that the job has already, which a resumed training computes again, are not
    stored again; neither are those that another client inside the program has stored.
    """
    newest = {one.name: one for one in store.newest_points(index)} if index.newest else {}
    return {
        name: value
        for name, value in values.items()
        if (known := newest.get(name)) is None
        or (step >= known.step and not _are_equal(value, known.value))
    }


def _with_room(
    index: PointIndex, values: dict[str, float], refused: list[RefusedMetric]
) -> dict[str, float]:
    """The values for whose series the job has room; the others are added to `refused`."""
    names = store.refused_names(index, [Row(0, 0.0, None, values)])
    reason = f"The job already has {MAX_SERIES} series, the maximum."
    refused += [RefusedMetric(name, reason) for name in values if name in names]
    return {name: number for name, number in values.items() if name not in names}


def _are_equal(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _move(position: TrainerPosition, step: int | None, found: _Reading) -> None:
    if step is not None:
        position.step, position.epoch = step, found.epoch
    if found.total_steps is not None:
        position.total_steps = found.total_steps


def _progress_event(job: Job) -> events.Event:
    return events.Progress(
        job_id=job.pk,
        epoch=job.current_epoch,
        total_epochs=job.total_epochs,
        metrics={},
        progress_percent=job.reported_percent,
        estimated_end_at=job.estimated_end_at,
    )
