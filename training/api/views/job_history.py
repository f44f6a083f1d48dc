"""What a job has left behind, over HTTP: epochs, events, metrics, evaluation, files."""

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
    ProblemSerializer,
)
from training.api.serializers.models import ArtifactsSerializer, EvaluationSerializer
from training.api.views.base import ETagViewSet
from training.events.store import frames
from training.jobs import artifacts, chart_series
from training.models import Job, TrainedModel
from training.validation import InvalidInputError

EVENTS_PAGE = 500
FEWEST_POINTS, MOST_POINTS = 10, 10_000


class JobHistory(ETagViewSet[Job]):
    """The calls below /jobs/{id} that only read."""

    @extend_schema(summary="Every stored epoch", responses={200: EpochSerializer(many=True)})
    @action(detail=True, pagination_class=pagination.ByEpoch, filter_backends=[])
    def epochs(self, request: Request, pk: str) -> Response:
        job = self.get_object()

        def page() -> dict[str, Any]:
            pager = pagination.ByEpoch()
            rows = pager.paginate_queryset(job.epochs.all(), request, self)
            return dict(pager.get_paginated_response(EpochSerializer(rows, many=True).data).data)

        # An epoch once stored never changes.
        here = request.build_absolute_uri()
        return etags.conditional_response(request, etags.make_etag(here, job.current_epoch), page)

    @extend_schema(
        summary="The events after a seq, as on the wire",
        parameters=[query_params.AFTER_PARAMETER],
        responses={200: EventPageSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def events(self, request: Request, pk: str) -> Response:
        job, after = self.get_object(), query_params.after(request)
        here = request.build_absolute_uri(request.path)
        last, more = min(job.seq, after + EVENTS_PAGE), job.seq > after + EVENTS_PAGE

        def page() -> dict[str, Any]:
            found = frames(job.pk, after, max(last - after, 0))
            return {
                "next": f"{here}?after={last}" if more else None,
                "previous": f"{here}?after={max(after - EVENTS_PAGE, 0)}" if after else None,
                "results": [json.loads(frame.body) for frame in found],
            }

        return etags.conditional_response(request, etags.make_etag(here, after, last, more), page)

    @extend_schema(
        summary="The same live, as server-sent events",
        description="The frames of the socket; `Last-Event-ID` is honoured.",
        parameters=[query_params.AFTER_PARAMETER, OpenApiParameter("format", exclude=True)],
        responses={(200, "text/event-stream"): OpenApiTypes.OBJECT, 404: ProblemSerializer},
    )
    @action(
        detail=True,
        url_path="events/stream",
        pagination_class=None,
        filter_backends=[],
        renderer_classes=[event_stream.EventStream, JSONRenderer],
    )
    def events_stream(self, request: Request, pk: str) -> StreamingHttpResponse:
        job = self.get_object()
        return event_stream.event_stream_response(
            request, job.pk, query_params.last_event_id(request)
        )

    @extend_schema(
        summary="Its metrics over the epochs, as columns for a chart",
        parameters=[
            OpenApiParameter("series", OpenApiTypes.STR, description="names, by commas: all"),
            OpenApiParameter(
                "max_points",
                {"type": "integer", "minimum": FEWEST_POINTS, "maximum": MOST_POINTS},
                description="10 to 10000, default 1000",
            ),
        ],
        responses={200: ColumnsSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def metrics(self, request: Request, pk: str) -> Response:
        job = self.get_object()
        limit = query_params.integer(request, "max_points", 1000)
        if not FEWEST_POINTS <= limit <= MOST_POINTS:
            raise InvalidInputError(
                {"max_points": [f"{limit} is not between {FEWEST_POINTS} and {MOST_POINTS}."]}
            )

        def columns() -> dict[str, Any]:
            names = query_params.requested_series(request, chart_series.series_names(job))
            return chart_series.columns(job, names, limit).as_json()

        etag = etags.make_etag(request.get_full_path(), job.current_epoch)
        return etags.conditional_response(request, etag, columns)

    @extend_schema(
        summary="How good it is on the test split",
        responses={200: EvaluationSerializer, 404: ProblemSerializer},
    )
    @action(detail=True)
    def evaluation(self, request: Request, pk: str) -> Response:
        model = TrainedModel.objects.filter(job=self.get_object()).first()
        if model is None:
            raise NotFound("This job has no evaluation: only a completed training has one.")
        etag = etags.make_etag("evaluation", model.pk, model.created_at)
        return etags.conditional_response(request, etag, lambda: model.evaluation)

    @extend_schema(summary="What the job leaves to take away", responses={200: ArtifactsSerializer})
    @action(detail=True, pagination_class=None, filter_backends=[])
    def artifacts(self, request: Request, pk: str) -> Response:
        here = request.build_absolute_uri(request.path)
        found = [
            {
                "name": one.name,
                "kind": one.kind,
                "description": one.description,
                "bytes": one.bytes,
                "url": f"{here}/{one.name}",
            }
            for one in artifacts.list_artifacts(self.get_object())
        ]
        listed = {"next": None, "previous": None, "results": found}
        return etags.conditional_response(request, etags.make_etag(listed), lambda: listed)

    @extend_schema(
        summary="The whole run, to take away",
        description="`tensorboard`: an event file; `mlflow`: a zip of a folder `mlruns`.",
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
        content_negotiation_class=downloads.AnyAccept,
    )
    def export(self, request: Request, pk: str) -> StreamingHttpResponse:
        return exports.export_response(request, self.get_object())

    @extend_schema(
        operation_id="training_jobs_artifact_download",
        summary="Download one of them; an export is made first, which takes up to a minute",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, 404: ProblemSerializer},
    )
    @action(
        detail=True,
        url_path=r"artifacts/(?P<name>[A-Za-z0-9._-]+)",
        filter_backends=[],
        content_negotiation_class=downloads.AnyAccept,
    )
    def artifact(self, request: Request, pk: str, name: str) -> HttpResponseBase:
        found = next(
            (one for one in artifacts.list_artifacts(self.get_object()) if one.name == name), None
        )
        if found is None:
            raise NotFound(f"This job has no artifact {name!r}; see /artifacts for those it has.")
        return downloads.download(request, artifacts.ensure_exported(found), name)
