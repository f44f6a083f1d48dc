"""Exports of a job in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.http import StreamingHttpResponse
from rest_framework.request import Request

from training.api.exports import mlflow, tabular, tensorboard
from training.models import Job
from training.request_thread import stream_pages
from training.validation import InvalidInputError


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """`file_name` has `{job}` in place of the job's ID."""

    media_type: str
    file_name: str
    write: Callable[[Job], Iterator[bytes]]


FORMATS = {
    "csv": ExportFormat("text/csv; charset=utf-8", "{job}.csv", tabular.epochs_csv),
    "jsonl": ExportFormat("application/jsonl", "{job}.jsonl", tabular.epochs_json_lines),
    "points": ExportFormat("text/csv; charset=utf-8", "{job}-points.csv", tabular.points_csv),
    # TensorBoard recognizes its files by the prefix of their name.
    "tensorboard": ExportFormat(
        "application/octet-stream", "events.out.tfevents.{job}", tensorboard.event_file
    ),
    "mlflow": ExportFormat("application/zip", "{job}-mlruns.zip", mlflow.mlruns_zip),
}


def export_response(request: Request, job: Job) -> StreamingHttpResponse:
    name = request.query_params.get("format", "csv")
    export_format = FORMATS.get(name)
    if export_format is None:
        raise InvalidInputError({"format": [f"{name!r} is not one of {', '.join(FORMATS)}."]})
    content = stream_pages(request._request, export_format.write(job))  # noqa: SLF001
    response = StreamingHttpResponse(content, content_type=export_format.media_type)
    # GZipMiddleware compresses each chunk separately, and many clients decode only the first.
    response["Content-Encoding"] = "identity"
    file_name = export_format.file_name.format(job=job.pk)
    response["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return response
