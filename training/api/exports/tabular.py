"""The epochs of a job as CSV or JSON Lines, read page by page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from training.jobs import chart_series
from training.models import Epoch, Job

PAGE_SIZE = 1000


def epoch_pages(job: Job) -> Iterator[list[Epoch]]:
    """Pages of epochs; each is read when the one before has been sent."""
    last = 0
    while page := list(job.epochs.filter(epoch__gt=last).order_by("epoch")[:PAGE_SIZE]):
        yield page
        last = page[-1].epoch


def epochs_csv(job: Job) -> Iterator[bytes]:
    names = chart_series.series_names(job)
    yield _csv_row(["epoch", "at", "seconds", "is_best", *names])
    for page in epoch_pages(job):
        yield b"".join(
            _csv_row(
                [epoch.epoch, epoch.at.isoformat(), epoch.seconds, int(epoch.is_best)]
                + [epoch.metrics.get(name) for name in names]
            )
            for epoch in page
        )


def _csv_row(cells: list[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


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
