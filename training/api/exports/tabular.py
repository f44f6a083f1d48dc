"""The epochs of a job as CSV or JSON Lines, and its points as CSV, read part by part."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from training.jobs import chart_series
from training.models import Epoch, Job
from training.points import store
from training.points.columns import read_series

PAGE_SIZE = 1000
POINTS_AT_ONCE = 10_000
# A series' name has no tab or line break, with which a formula can begin as well.
FORMULA_STARTS = ("=", "+", "-", "@")


def epoch_pages(job: Job) -> Iterator[list[Epoch]]:
    """Pages of epochs; each is read when the one before has been sent."""
    last = -1
    while page := list(job.epochs.filter(epoch__gt=last).order_by("epoch")[:PAGE_SIZE]):
        yield page
        last = page[-1].epoch


def epochs_csv(job: Job) -> Iterator[bytes]:
    names = chart_series.series_names(job)
    yield _csv_row(["epoch", "at", "seconds", "is_best", *map(_text_cell, names)])
    for page in epoch_pages(job):
        yield b"".join(
            _csv_row(
                [epoch.epoch, epoch.at.isoformat(), epoch.seconds, int(epoch.is_best)]
                + [epoch.metrics.get(name) for name in names]
            )
            for epoch in page
        )


def points_csv(job: Job) -> Iterator[bytes]:
    """One row a value, series by series: every point, which a chart of many shows in part.

    `time` is in seconds since 1970. A job that reports epochs only has no steps.
    """
    yield _csv_row(["metric", "step", "epoch", "time", "value"])
    if not job.has_points:
        yield from _epoch_values_csv(job)
        return
    epochs = read_series(job.pk, store.EPOCH)
    epoch_by_step = dict(zip(epochs.steps.tolist(), epochs.values.tolist(), strict=True))
    for name in store.series_names(job.pk):
        series = read_series(job.pk, name)
        for start in range(0, len(series), POINTS_AT_ONCE):
            part = series.between(start, start + POINTS_AT_ONCE)
            rows = zip(
                part.steps.tolist(), part.known_times().tolist(), part.values.tolist(), strict=True
            )
            yield _csv_rows(
                [_text_cell(name), step, _whole(epoch_by_step.get(step)), time, value]
                for step, time, value in rows
            )


def _epoch_values_csv(job: Job) -> Iterator[bytes]:
    for name in chart_series.series_names(job):
        for page in epoch_pages(job):
            yield _csv_rows(
                [_text_cell(name), None, epoch.epoch, epoch.at.timestamp(), epoch.metrics[name]]
                for epoch in page
                if name in epoch.metrics
            )


def _text_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: names of metrics are text of users."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _csv_rows(rows: Iterable[list[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _csv_row(cells: list[object]) -> bytes:
    return _csv_rows([cells])


def epochs_json_lines(job: Job) -> Iterator[bytes]:
    """The first line describes the job, each of the others is an epoch."""
    job_line = {"job_id": str(job.pk), "name": job.name, "config": job.config, "tags": job.tags}
    yield json.dumps(job_line).encode() + b"\n"
    for page in epoch_pages(job):
        yield "".join(
            json.dumps(
                {"epoch": epoch.epoch, "at": epoch.at.isoformat(), "seconds": epoch.seconds,
                 "is_best": epoch.is_best, "metrics": epoch.metrics}
            ) + "\n"
            for epoch in page
        ).encode()  # fmt: skip
