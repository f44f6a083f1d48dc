"""Endpoints of a job's data: epochs, events, metrics, evaluation, artifacts, exports."""

from __future__ import annotations

import json
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from training.api import downloads, etags, event_stream, exports, pagination, query_params
from training.api.serializers.jobs import (
    ColumnsSerializer,
    EpochSerializer,
    EventPageSerializer,
)
from training.api.serializers.models import ArtifactsSerializer, EvaluationSerializer
from training.api.serializers.problems import ProblemSerializer
from training.api.views.base import ETagViewSet
from training.events.store import frames
from training.jobs import artifacts, chart_series
from training.models import Job, TrainedModel
from training.validation import InvalidInputError

EVENTS_PAGE = 500
MIN_POINTS, MAX_POINTS = 10, 10_000


class JobDataViewSet(ETagViewSet[Job]):
    """The read-only endpoints below /jobs/{id}."""

    @extend_schema(
        summary="List epochs",
        description="All stored epochs with their metrics, in order.",
        responses={200: EpochSerializer(many=True)},
    )
    @action(detail=True, pagination_class=pagination.EpochPagination, filter_backends=[])
    def epochs(self, request: Request, pk: str) -> Response:
        job = self.get_object()

        def page() -> dict[str, Any]:
            paginator = pagination.EpochPagination()
            rows = paginator.paginate_queryset(job.epochs.all(), request, self)
            return dict(
                paginator.get_paginated_response(EpochSerializer(rows, many=True).data).data
            )

        # A stored epoch never changes.
        url = request.build_absolute_uri()
        return etags.conditional_response(request, etags.make_etag(url, job.current_epoch), page)

    @extend_schema(
        summary="List events",
        description="The events after a sequence number, in order, as WebSocket clients receive "
        "them.",
        parameters=[query_params.AFTER_PARAMETER],
        responses={200: EventPageSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def events(self, request: Request, pk: str) -> Response:
        job, after = self.get_object(), query_params.after(request)
        url = request.build_absolute_uri(request.path)
        last, more = min(job.seq, after + EVENTS_PAGE), job.seq > after + EVENTS_PAGE

        def page() -> dict[str, Any]:
            return {
                "next": f"{url}?after={last}" if more else None,
                "previous": f"{url}?after={max(after - EVENTS_PAGE, 0)}" if after else None,
                "results": [
                    json.loads(frame.body) for frame in frames(job.pk, after, max(last - after, 0))
                ],
            }

        return etags.conditional_response(request, etags.make_etag(url, after, last, more), page)

    @extend_schema(
        summary="Stream events",
        description="The same events live, as server-sent events. `Last-Event-ID` takes precedence "
        "over `after`.",
        parameters=[query_params.AFTER_PARAMETER, OpenApiParameter("format", exclude=True)],
        responses={(200, "text/event-stream"): OpenApiTypes.OBJECT, 404: ProblemSerializer},
    )
    @action(
        detail=True,
        url_path="events/stream",
        pagination_class=None,
        filter_backends=[],
        renderer_classes=[event_stream.EventStreamRenderer, JSONRenderer],
    )
    def events_stream(self, request: Request, pk: str) -> StreamingHttpResponse:
        job = self.get_object()
        return event_stream.event_stream_response(
            request, job.pk, query_params.last_event_id(request)
        )

    @extend_schema(
        summary="Get metrics as columns",
        description="The metrics over the epochs as columns of equal length for a chart, "
        "downsampled to at most `max_points` epochs.",
        parameters=[
            OpenApiParameter(
                "series",
                OpenApiTypes.STR,
                description="Metric names, separated by commas; default: all.",
            ),
            OpenApiParameter(
                "max_points",
                {"type": "integer", "minimum": MIN_POINTS, "maximum": MAX_POINTS},
                description="10 to 10000; default 1000.",
            ),
        ],
        responses={200: ColumnsSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def metrics(self, request: Request, pk: str) -> Response:
        job = self.get_object()
        limit = query_params.integer(request, "max_points", 1000)
        if not MIN_POINTS <= limit <= MAX_POINTS:
            raise InvalidInputError(
                {"max_points": [f"{limit} is not between {MIN_POINTS} and {MAX_POINTS}."]}
            )

        def columns() -> dict[str, Any]:
            names = query_params.requested_series(request, chart_series.series_names(job))
            return chart_series.columns(job, names, limit).as_json()

        etag = etags.make_etag(request.get_full_path(), job.current_epoch)
        return etags.conditional_response(request, etag, columns)

    @extend_schema(
        summary="Get the evaluation",
        description="Errors on the test split, with baselines and the theoretical bound. Only "
        "completed training jobs have one.",
        responses={200: EvaluationSerializer, 404: ProblemSerializer},
    )
    @action(detail=True)
    def evaluation(self, request: Request, pk: str) -> Response:
        model = TrainedModel.objects.filter(job=self.get_object()).first()
        if model is None:
            raise NotFound("This job has no evaluation; only a completed training job has one.")
        etag = etags.make_etag("evaluation", model.pk, model.created_at)
        return etags.conditional_response(request, etag, lambda: model.evaluation)

    @extend_schema(
        summary="List artifacts",
        description="The job's checkpoints and exports to download.",
        responses={200: ArtifactsSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def artifacts(self, request: Request, pk: str) -> Response:
        url = request.build_absolute_uri(request.path)
        results = [
            {
                "name": artifact.name,
                "kind": artifact.kind,
                "description": artifact.description,
                "bytes": artifact.bytes,
                "url": f"{url}/{artifact.name}",
            }
            for artifact in artifacts.list_artifacts(self.get_object())
        ]
        page = {"next": None, "previous": None, "results": results}
        return etags.conditional_response(request, etags.make_etag(page), lambda: page)

    @extend_schema(
        summary="Export a job",
        description="The epochs as `csv` or `jsonl`, a TensorBoard event file (`tensorboard`), or "
        "a zip of an `mlruns` folder (`mlflow`).",
        parameters=[
            OpenApiParameter("format", OpenApiTypes.STR, enum=list(exports.FORMATS), default="csv")
        ],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/jsonl"): OpenApiTypes.STR,
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (200, "application/zip"): OpenApiTypes.BINARY,
            400: ProblemSerializer,
            404: ProblemSerializer,
        },
    )
    @action(
        detail=True,
        pagination_class=None,
        filter_backends=[],
        content_negotiation_class=downloads.IgnoreClientContentNegotiation,
    )
    def export(self, request: Request, pk: str) -> StreamingHttpResponse:
        return exports.export_response(request, self.get_object())

    @extend_schema(
        operation_id="training_jobs_artifact_download",
        summary="Download an artifact",
        description="Supports `Range`. The first download of an exported model generates it, which "
        "takes up to a minute.",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, 404: ProblemSerializer},
    )
    @action(
        detail=True,
        url_path=r"artifacts/(?P<name>[A-Za-z0-9._-]+)",
        filter_backends=[],
        content_negotiation_class=downloads.IgnoreClientContentNegotiation,
    )
    def artifact(self, request: Request, pk: str, name: str) -> HttpResponseBase:
        available = {one.name: one for one in artifacts.list_artifacts(self.get_object())}
        if name not in available:
            raise NotFound(f"This job has no artifact {name!r}; GET …/artifacts lists them.")
        return downloads.download(request, artifacts.ensure_exported(available[name]), name)
