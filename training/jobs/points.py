"""Points of a running attempt or of a reported job: stored, merged into epochs, and announced."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from heimdall_sdk.checkpoint_names import checkpoint_epoch
from heimdall_sdk.messages import Point, Value
from realtime import events
from training.jobs.attempts import Attempt, SupersededError, lease
from training.jobs.lifecycle import EventBuilder, change
from training.jobs.objective import headline_name
from training.models import Epoch, Job, PointIndex
from training.points import store
from training.points.limits import MAX_SERIES
from training.points.rows import InvalidPointError, PointLike, PointReader, Row

# Progress between two epochs is announced at most ten times a second.
ANNOUNCE_SECONDS = 0.1
# Metrics in one event and in a job's summary. A chart reads all series.
MAX_ANNOUNCED = 1000

Metrics = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Rejection:
    """The position of a point that was not stored, and the reason."""

    point: int
    reason: str


@dataclass(slots=True)
class _EpochPoints:
    """What the points of one epoch add to it."""

    metrics: Metrics = field(default_factory=dict)
    seconds: float = 0.0
    step: int = 0


def read_points(found: Iterable[object]) -> tuple[dict[int, Row], list[Rejection]]:
    """The valid points of a JSON list, by position, and the reasons why others are invalid."""
    valid, invalid = PointReader().read_all(found)
    return valid, [Rejection(position, reason) for position, reason in invalid.items()]


def record_points(attempt: Attempt, points: Sequence[Point]) -> list[Rejection]:
    """Store the points of a running attempt, with their epochs and events, in one transaction."""
    reader, valid, rejected = PointReader(), {}, []
    for position, point in enumerate(points):
        try:
            reader.check(point)
        except InvalidPointError as error:
            rejected.append(Rejection(position, str(error)))
        else:
            valid[position] = point
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(attempt.fence, pk=attempt.job_id).first()
        if job is None:
            raise SupersededError(f"attempt {attempt.number} of job {attempt.job_id} is outdated")
        return rejected + store_points(job, attempt.fence, valid, lease(), replacing=True)


def record_checkpointed(attempt: Attempt, path: str) -> None:
    """A checkpoint is on disk: the next attempt resumes there.

    One of a later epoch is progress, so crashes before it do not count. A script that reports
    steps only, or nothing, has no epochs that would show it.
    """
    before = Job.objects.values_list("checkpoint_path", flat=True).get(pk=attempt.job_id)
    progress: dict[str, Any] = {"crashes": 0} if _epoch(path) > _epoch(before) else {}
    attempt.must_change(checkpoint_path=path, **progress, **lease())


def _epoch(checkpoint: str) -> int:
    with suppress(ValueError):
        return checkpoint_epoch(Path(checkpoint))
    return 0


def store_points(
    job: Job,
    fence: Q,
    valid: Mapping[int, PointLike],
    values: Mapping[str, Any],
    *,
    replacing: bool = False,
) -> list[Rejection]:
    """Store valid points, by position, and set `values`; the caller has locked the job's row.

    `replacing`: the points replace earlier values of their steps; else they are added. Returns the
    points for whose series the job has no room.
    """
    index = store.open_index(job.pk)
    refused = store.refused_names(index, valid.values())
    rejected = _without_room(valid, refused) if refused else []
    without = {one.point for one in rejected}
    points = [point for position, point in valid.items() if position not in without]
    if not points:
        if not change(job.pk, fence, **values):
            raise SupersededError(f"job {job.pk} has changed")
        return rejected
    changes = _Changes(job, index, points)
    store.append(index, points, replacing=replacing)
    builders, columns = changes.collect()
    index.save(force_insert=index._state.adding)  # noqa: SLF001  (documented by Django)
    if change(job.pk, fence, *builders, **columns, **values) is None:
        raise SupersededError(f"job {job.pk} has changed")
    return rejected


def rejected_for_room(job: Job, valid: Mapping[int, PointLike]) -> list[Rejection]:
    """The points for whose series the job has no room."""
    return _without_room(valid, store.refused_names(store.open_index(job.pk), valid.values()))


def announce_newest(job: Job, index: PointIndex) -> EventBuilder:
    """The event with the newest values, and marks them as announced."""
    index.announced_at, index.unannounced = timezone.now(), False
    metrics = _finite(store.newest_values(index, MAX_ANNOUNCED))
    return partial(_progress, job.current_epoch, metrics, store.newest_step(index), False)


def _without_room(valid: Mapping[int, PointLike], refused: frozenset[str]) -> list[Rejection]:
    return [
        Rejection(
            position,
            f"The job already has {MAX_SERIES} series, the maximum; {name!r} is not stored.",
        )
        for position, point in valid.items()
        if (name := next((name for name in point.values if name in refused), None))
    ]


class _Changes:
    """What a batch of points changes in a job: epochs, best epoch, summary, and its events."""

    def __init__(self, job: Job, index: PointIndex, points: Sequence[PointLike]) -> None:
        self._job, self._index = job, index
        self._builders: list[EventBuilder] = []
        self._best = {"best_epoch": job.best_epoch, "best_value": job.best_value}
        self._headline = job.headline_value
        self._recompute_best = False
        # Points without an epoch of their own, or of one that was announced before.
        self._between: list[PointLike] = [point for point in points if point.epoch is None]
        self._by_epoch = self._group(points)
        self._stored = {
            row.epoch: row
            for row in Epoch.objects.filter(job_id=job.pk, epoch__in=list(self._by_epoch))
        }
        self._points = points

    def collect(self) -> tuple[list[EventBuilder], dict[str, Any]]:
        """Write the epochs; return the events and the columns of the job's row."""
        job, newest = self._job, max(self._by_epoch, default=-1)
        created = [
            self._create(number, found)
            for number, found in sorted(self._by_epoch.items())
            if number not in self._stored
        ]
        revised = [
            row for number, row in sorted(self._stored.items())
            if self._revise(row, self._by_epoch[number])
        ]  # fmt: skip
        Epoch.objects.bulk_create(created)
        Epoch.objects.bulk_update(revised, ["metrics", "seconds", "is_best"], batch_size=200)
        if self._recompute_best:
            self._find_best()
        current = max(job.current_epoch, newest)
        self._announce_between(current)
        columns: dict[str, Any] = {
            "has_points": True,
            "current_epoch": current,
            "summary": _finite(store.newest_values(self._index, MAX_ANNOUNCED)),
            "headline_value": self._headline,
            **self._best,
        }
        if job.total_epochs:
            columns["total_epochs"] = max(job.total_epochs, current)
        if newest > job.current_epoch:
            columns["crashes"] = 0
        return self._builders, columns

    def _group(self, points: Sequence[PointLike]) -> dict[int, _EpochPoints]:
        found: defaultdict[int, _EpochPoints] = defaultdict(_EpochPoints)
        has_epochs = len(self._between) < len(points)
        before = self._time_of_newest_step() if has_epochs else None
        for point in points:
            if point.epoch is not None:
                epoch = found[point.epoch]
                epoch.metrics.update(point.values)  # type: ignore[arg-type]
                epoch.step = max(epoch.step, point.step)
                if before is not None:
                    epoch.seconds += max(0.0, point.time - before)
            before = point.time
        for epoch in found.values():
            epoch.metrics = _finite(epoch.metrics)
        return found

    def _time_of_newest_step(self) -> float | None:
        """The client's clock at the newest step, if that step belongs to this attempt."""
        job = self._job
        newest = Epoch.objects.filter(job_id=job.pk).order_by("-epoch").values_list("attempt")
        if not self._index.newest or (newest.first() or (job.attempt,))[0] != job.attempt:
            return None
        return store.newest_time(self._index)

    def _create(self, number: int, found: _EpochPoints) -> Epoch:
        self._announce(number, found.metrics, found.step)
        return Epoch(
            job_id=self._job.pk,
            epoch=number,
            metrics=found.metrics,
            is_best=self._is_best(number, found.metrics, found.step),
            seconds=found.seconds,
            attempt=self._job.attempt,
            at=timezone.now(),
        )

    def _revise(self, row: Epoch, found: _EpochPoints) -> bool:
        """Merge the points into the stored epoch; return whether that changes it.

        An epoch that was computed again after a resume is replaced without another event.
        """
        merged = {**row.metrics, **found.metrics}
        if merged == row.metrics:
            return False
        is_new = found.metrics.keys() - row.metrics.keys()
        objective = self._job.objective_metric
        was_best = row.epoch == self._best["best_epoch"]
        self._recompute_best |= was_best and merged.get(objective) != row.metrics.get(objective)
        row.metrics, row.seconds = merged, row.seconds + found.seconds
        if is_new:
            self._announce(row.epoch, merged, found.step)
        elif row.epoch >= self._job.current_epoch and row.attempt == self._job.attempt:
            self._between += [point for point in self._points if point.epoch == row.epoch]
        row.is_best |= self._is_best(row.epoch, merged, found.step)
        return True

    def _announce(self, epoch: int, metrics: Metrics, step: int, *, is_best: bool = False) -> None:
        shown = dict(islice(metrics.items(), MAX_ANNOUNCED))
        self._builders.append(partial(_progress, epoch, shown, step, is_best))

    def _is_best(self, epoch: int, metrics: Metrics, step: int) -> bool:
        """Whether the epoch is the best so far; if so, announce it as such."""
        job = self._job
        value = metrics.get(job.objective_metric) if job.objective_metric else None
        if value is None or not _is_better(value, self._best["best_value"], job):
            return False
        was_best = epoch == self._best["best_epoch"]
        self._best = {"best_epoch": epoch, "best_value": value}
        self._headline = metrics.get(headline_name(job))
        if not was_best:
            self._announce(epoch, metrics, step, is_best=True)
        return True

    def _find_best(self) -> None:
        """The value of the best epoch has changed: search all epochs."""
        job = self._job
        self._best, self._headline = {"best_epoch": None, "best_value": None}, None
        rows = Epoch.objects.filter(job_id=job.pk).order_by("epoch")
        for number, metrics in rows.values_list("epoch", "metrics"):
            value = metrics.get(job.objective_metric)
            if value is not None and _is_better(value, self._best["best_value"], job):
                self._best = {"best_epoch": number, "best_value": value}
                self._headline = metrics.get(headline_name(job))

    def _announce_between(self, epoch: int) -> None:
        """Announce points between two epochs, unless that was done a moment ago."""
        if not self._between:
            return
        index, now = self._index, timezone.now()
        earliest = (index.announced_at or now) + timedelta(seconds=ANNOUNCE_SECONDS)
        if index.announced_at and now < earliest:
            index.unannounced = True
            return
        newest: dict[str, Value] = {}
        for point in self._between:
            newest.update(point.values)
        index.announced_at, index.unannounced = now, False
        step = max(point.step for point in self._between)
        self._announce(epoch, _finite(newest), step)


def _progress(epoch: int, metrics: Metrics, step: int, is_best: bool, job: Job) -> events.Event:
    return events.Progress(
        job_id=job.pk,
        epoch=epoch,
        total_epochs=job.total_epochs,
        step=step,
        metrics=metrics,
        is_best=is_best,
        progress_percent=job.reported_percent,
        estimated_end_at=job.estimated_end_at,
    )


def _is_better(value: float, best: float | None, job: Job) -> bool:
    if best is None:
        return True
    return value > best if job.objective_direction == "maximize" else value < best


def _finite(values: Mapping[str, Any]) -> Metrics:
    """JSON has no NaN and no infinities: they are null; the points keep them."""
    return {
        name: float(value) if not isinstance(value, str) and value is not None
        and math.isfinite(value) else None
        for name, value in values.items()
    }  # fmt: skip
