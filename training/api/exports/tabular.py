"""The epochs of a job as CSV or JSON Lines, and its points as CSV, read part by part."""

from __future__ import annotations

import json
from collections.abc import Iterator

from training.api.exports.csv_rows import encode_row, encode_rows, text_cell
from training.jobs import chart_series
from training.models import Epoch, Job
from training.points import store
from training.points.columns import iterate_series, read_series

PAGE_SIZE = 1000
POINTS_AT_ONCE = 10_000
POINTS_OF_GROUP = 500_000  # decoded together


def epoch_pages(job: Job) -> Iterator[list[Epoch]]:
    """Pages of epochs; each is read when the one before has been sent."""
    last = -1
    while page := list(job.epochs.filter(epoch__gt=last).order_by("epoch")[:PAGE_SIZE]):
        yield page
        last = page[-1].epoch


def epochs_csv(job: Job) -> Iterator[bytes]:
    names = chart_series.series_names(job)
    yield encode_row(["epoch", "at", "seconds", "is_best", *map(text_cell, names)])
    for page in epoch_pages(job):
        yield b"".join(
            encode_row(
                [epoch.epoch, epoch.at.isoformat(), epoch.seconds, int(epoch.is_best)]
                + [epoch.metrics.get(name) for name in names]
            )
            for epoch in page
        )


def points_csv(job: Job) -> Iterator[bytes]:
    """One row per value, series by series, without downsampling.

    `time` is in seconds since 1970. A job that reports epochs only has no steps.
    """
    yield encode_row(["metric", "step", "epoch", "time", "value"])
    if not job.has_points:
        yield from _epoch_values_csv(job)
        return
    epochs = read_series(job.pk, store.EPOCH)
    epoch_by_step = dict(zip(epochs.steps.tolist(), epochs.values.tolist(), strict=True))
    for name, series in iterate_series(job.pk, store.series_names(job.pk), POINTS_OF_GROUP):
        for start in range(0, len(series), POINTS_AT_ONCE):
            part = series.between(start, start + POINTS_AT_ONCE)
            rows = zip(
                part.steps.tolist(), part.known_times().tolist(), part.values.tolist(), strict=True
            )
            yield encode_rows(
                [text_cell(name), step, _whole(epoch_by_step.get(step)), time, value]
                for step, time, value in rows
            )


def _epoch_values_csv(job: Job) -> Iterator[bytes]:
    for name in chart_series.series_names(job):
        for page in epoch_pages(job):
            yield encode_rows(
                [text_cell(name), None, epoch.epoch, epoch.at.timestamp(), epoch.metrics[name]]
                for epoch in page
                if name in epoch.metrics
            )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


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
