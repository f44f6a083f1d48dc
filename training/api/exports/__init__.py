"""A run to take away, as other programs read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from training.api.exports import mlflow, tabular, tensorboard
from training.models import Job
from training.validation import InvalidInputError


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """`name` of the file, with `{job}` for the job's id."""

    media_type: str
    name: str
    write: Callable[[Job], Iterator[bytes]]


FORMATS = {
    "csv": ExportFormat("text/csv; charset=utf-8", "{job}.csv", tabular.epochs_csv),
    "jsonl": ExportFormat("application/jsonl", "{job}.jsonl", tabular.epochs_json_lines),
    # TensorBoard knows its files by the beginning of their name.
    "tensorboard": ExportFormat(
        "application/octet-stream", "events.out.tfevents.{job}", tensorboard.event_file
    ),
    "mlflow": ExportFormat("application/zip", "{job}-mlruns.zip", mlflow.mlruns_zip),
}


def export_response(request: Request, job: Job) -> StreamingHttpResponse:
    """The run in the form that `format` names."""
    wanted = request.query_params.get("format", "csv")
    form = FORMATS.get(wanted)
    if form is None:
        raise InvalidInputError({"format": [f"{wanted!r} is not one of {', '.join(FORMATS)}."]})
    parts = form.write(job)
    # Handed a plain iterator, Django would gather all of it before it sends the first byte.
    is_async = isinstance(request._request, ASGIRequest)  # noqa: SLF001
    sent = StreamingHttpResponse(
        _iterate(parts) if is_async else parts, content_type=form.media_type
    )
    # Django would compress each part by itself, and many a client reads only the first.
    sent["Content-Encoding"] = "identity"
    sent["Content-Disposition"] = f'attachment; filename="{form.name.format(job=job.pk)}"'
    return sent


async def _iterate(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(parts, None))
    while (part := await following()) is not None:
        yield part
