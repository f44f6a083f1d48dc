"""Endpoints of what a job prints and of what it uses of the machine."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from training.api import (
    downloads,
    etags,
    event_stream,
    log_downloads,
    log_stream,
    query_params,
)
from training.api.held_places import count_download
from training.api.serializers.jobs import SystemColumnsSerializer
from training.api.serializers.problems import ProblemSerializer
from training.api.views.base import ETagViewSet
from training.jobs import logs, system_figures
from training.models import Job

PARAMETERS = [
    OpenApiParameter(
        "attempt",
        {"type": "integer", "minimum": 1, "maximum": query_params.MAX_INTEGER},
        description="The number of the attempt; default: the newest.",
    ),
    OpenApiParameter(
        "after",
        {"type": "integer", "minimum": 0, "maximum": query_params.MAX_BYTES},
        description="Only the output after this many bytes; default 0: all.",
    ),
]


class JobLogsViewSet(ETagViewSet[Job]):
    """The output and the resource metrics of a job."""

    @extend_schema(
        operation_id="training_jobs_logs",
        summary="Get the log",
        description="The output of an attempt, stdout and stderr. Supports `Range`. Of a long "
        "output the first 8 MiB and at least the last 24 MiB are kept; one line names the bytes in "
        "between. Offsets count the bytes of the whole output.",
        parameters=PARAMETERS,
        responses={
            (200, "text/plain"): OpenApiTypes.STR,
            (206, "text/plain"): OpenApiTypes.STR,
            400: ProblemSerializer,
            404: ProblemSerializer,
            416: ProblemSerializer,
        },
    )
    @action(
        detail=True,
        pagination_class=None,
        filter_backends=[],
        content_negotiation_class=downloads.IgnoreClientContentNegotiation,
    )
    def logs(self, request: Request, pk: str) -> HttpResponseBase:
        job = self.get_object()
        attempt = _attempt(request, job)
        after = query_params.after(request, query_params.MAX_BYTES)
        response = log_downloads.log_response(
            request,
            logs.attempt_log(job.pk, attempt),
            after,
            f"{job.pk}-attempt-{attempt}.log",
            ended=log_stream.has_ended(job.pk, attempt),
        )
        return count_download(self._user, response)

    @extend_schema(
        operation_id="training_jobs_logs_stream",
        summary="Stream the log",
        description="The same live, as server-sent events in the form of `training:log` events. "
        "The `id` is the offset of the end of the text; `Last-Event-ID` takes precedence over "
        "`after`. Invalid UTF-8 is replaced. An event `end` is the last one of an attempt.",
        parameters=[*PARAMETERS, OpenApiParameter("format", exclude=True)],
        responses={
            (200, "text/event-stream"): OpenApiTypes.OBJECT,
            400: ProblemSerializer,
            404: ProblemSerializer,
        },
    )
    @action(
        detail=True,
        url_path="logs/stream",
        pagination_class=None,
        filter_backends=[],
        renderer_classes=[event_stream.EventStreamRenderer, JSONRenderer],
    )
    def logs_stream(self, request: Request, pk: str) -> StreamingHttpResponse:
        job = self.get_object()
        return log_stream.log_stream_response(
            request,
            job.pk,
            _attempt(request, job),
            query_params.last_event_id(request, query_params.MAX_BYTES),
        )

    @extend_schema(
        summary="Get resource metrics as columns",
        description="What the processes of the job used of the machine, sampled every five "
        "seconds by the worker, as columns of equal length for a chart, downsampled to at most "
        "`max_points` samples.",
        parameters=[query_params.MAX_POINTS_PARAMETER],
        responses={200: SystemColumnsSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def system(self, request: Request, pk: str) -> Response:
        job, limit = self.get_object(), query_params.max_points(request)
        etag = etags.make_etag(request.get_full_path(), system_figures.version(job))
        return etags.conditional_response(
            request, etag, lambda: system_figures.columns(job, limit).as_json()
        )


def _attempt(request: Request, job: Job) -> int:
    """The requested attempt. A job that was not started yet will have the first."""
    newest = max(job.attempt, 1)
    attempt = query_params.integer(request, "attempt", newest)
    if not 1 <= attempt <= newest:
        raise NotFound(f"This job has no attempt {attempt}; the newest is {newest}.")
    return attempt
