"""A run to take away: its epochs as CSV or JSON lines, page by page, whatever its length."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from training import series
from training.configs import BadConfig
from training.models import Epoch, Job

PAGE = 1000
Writer = Callable[[Job], Iterator[str]]


def _epochs(job: Job) -> Iterator[list[Epoch]]:
    """A page of epochs after the other, each asked for when the one before has been sent."""
    last = 0
    while page := list(job.epochs.filter(epoch__gt=last).order_by("epoch")[:PAGE]):
        yield page
        last = page[-1].epoch


def _csv(job: Job) -> Iterator[str]:
    names = series.known(job)
    yield _line(["epoch", "at", "seconds", "is_best", *names])
    for page in _epochs(job):
        yield "".join(
            _line(
                [one.epoch, one.at.isoformat(), one.seconds, int(one.is_best)]
                + [one.metrics.get(name) for name in names]
            )
            for one in page
        )


def _line(cells: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _json_lines(job: Job) -> Iterator[str]:
    """First the run, then its epochs."""
    about = {"job_id": str(job.pk), "name": job.name, "config": job.config, "tags": job.tags}
    yield json.dumps(about) + "\n"
    for page in _epochs(job):
        yield "".join(
            json.dumps(
                {"epoch": one.epoch, "at": one.at.isoformat(), "seconds": one.seconds,
                 "is_best": one.is_best, "metrics": one.metrics}
            ) + "\n"
            for one in page
        )  # fmt: skip


FORMATS: dict[str, tuple[str, Writer]] = {
    "csv": ("text/csv; charset=utf-8", _csv),
    "jsonl": ("application/jsonl", _json_lines),
}


def answer(request: Request, job: Job) -> StreamingHttpResponse:
    """The run in the form that `format` names."""
    wanted = request.query_params.get("format", "csv")
    if wanted not in FORMATS:
        raise BadConfig({"format": [f"{wanted!r} is not one of {', '.join(FORMATS)}."]})
    media_type, write = FORMATS[wanted]
    parts = write(job)
    # Handed a plain iterator, Django would gather all of it before it sends the first byte.
    is_async = isinstance(request._request, ASGIRequest)  # noqa: SLF001
    sent = StreamingHttpResponse(_one_by_one(parts) if is_async else parts, content_type=media_type)
    # Django would compress each part by itself, and many a client reads only the first.
    sent["Content-Encoding"] = "identity"
    sent["Content-Disposition"] = f'attachment; filename="{job.pk}.{wanted}"'
    return sent


async def _one_by_one(parts: Iterator[str]) -> AsyncIterator[str]:
    following = sync_to_async(lambda: next(parts, None))
    while (part := await following()) is not None:
        yield part
