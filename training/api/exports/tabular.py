"""The epochs of a run as CSV or JSON lines, page by page, whatever its length."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from training.jobs import chart_series
from training.models import Epoch, Job

PAGE = 1000


def epoch_pages(job: Job) -> Iterator[list[Epoch]]:
    """A page of epochs after the other, each asked for when the one before has been sent."""
    last = 0
    while page := list(job.epochs.filter(epoch__gt=last).order_by("epoch")[:PAGE]):
        yield page
        last = page[-1].epoch


def epochs_csv(job: Job) -> Iterator[bytes]:
    names = chart_series.series_names(job)
    yield _line(["epoch", "at", "seconds", "is_best", *names])
    for page in epoch_pages(job):
        yield b"".join(
            _line(
                [one.epoch, one.at.isoformat(), one.seconds, int(one.is_best)]
                + [one.metrics.get(name) for name in names]
            )
            for one in page
        )


def _line(cells: list[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def epochs_json_lines(job: Job) -> Iterator[bytes]:
    """First the run, then its epochs."""
    about = {"job_id": str(job.pk), "name": job.name, "config": job.config, "tags": job.tags}
    yield json.dumps(about).encode() + b"\n"
    for page in epoch_pages(job):
        yield "".join(
            json.dumps(
                {"epoch": one.epoch, "at": one.at.isoformat(), "seconds": one.seconds,
                 "is_best": one.is_best, "metrics": one.metrics}
            ) + "\n"
            for one in page
        ).encode()  # fmt: skip
