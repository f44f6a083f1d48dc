"""Endpoints of a job's data: epochs, events, metrics, evaluation, artifacts, exports."""

from __future__ import annotations

import json
from typing import ClassVar
from urllib.parse import quote

from django.conf import settings
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import JsonValue
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts import audit, limits
from training.api import (
    downloads,
    etags,
    event_stream,
    exports,
    pagination,
    query_params,
    uploads,
)
from training.api.artifact_response import artifact_response
from training.api.held_places import count_download
from training.api.serializers.jobs import (
    ColumnsSerializer,
    EpochSerializer,
    EventPageSerializer,
    MetricSummariesSerializer,
)
from training.api.serializers.models import (
    ArtifactSerializer,
    ArtifactsSerializer,
    EvaluationSerializer,
)
from training.api.serializers.problems import ProblemSerializer
from training.api.views.job_logs import JobLogsViewSet
from training.events import packing
from training.events.store import frames
from training.jobs import artifacts, chart_series, metric_summary
from training.models import Job, TrainedModel
from training.points import store
from training.validation import InvalidInputError

EVENTS_PAGE = 500


class NotAReportedJobError(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = (
        "Only a reported job accepts uploads. A training that Heimdall runs saves its files itself."
    )


class EventsDeletedError(APIException):
    status_code = status.HTTP_410_GONE


class ArtifactsTooLargeError(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE


class JobDataViewSet(JobLogsViewSet):
    """The endpoints of data below /jobs/{id}."""

    scopes: ClassVar = {"upload_artifact": "report"}

    @extend_schema(
        summary="List epochs",
        description="All stored epochs with their metrics, in order.",
        responses={200: EpochSerializer(many=True)},
    )
    @action(detail=True, pagination_class=pagination.EpochPagination, filter_backends=[])
    def epochs(self, request: Request, pk: str) -> Response:
        job = self.get_object()

        def page() -> dict[str, JsonValue]:
            paginator = pagination.EpochPagination()
            rows = paginator.paginate_queryset(job.epochs.all(), request, self)
            return dict(
                paginator.get_paginated_response(EpochSerializer(rows, many=True).data).data
            )

        etag = etags.make_etag(request.build_absolute_uri(), _metrics_version(job))
        return etags.conditional_response(request, etag, page)

    @extend_schema(
        summary="List events",
        description="The events after a sequence number, in order, as WebSocket clients receive "
        "them. 410 if some of them were deleted by the retention policy.",
        parameters=[query_params.AFTER_PARAMETER],
        responses={200: EventPageSerializer, 410: ProblemSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def events(self, request: Request, pk: str) -> Response:
        job, after = self.get_object(), query_params.after(request)
        url = request.build_absolute_uri(request.path)
        last, more = min(job.seq, after + EVENTS_PAGE), job.seq > after + EVENTS_PAGE

        def page() -> dict[str, JsonValue]:
            _check_events_are_kept(job, after)
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
        "over `after`. If the job has no such event, which happens after a restore from a backup, "
        "`connected` has `reset: true` and all events follow.",
        parameters=[
            query_params.AFTER_PARAMETER,
            query_params.TIMESTAMP_PARAMETER,
            OpenApiParameter("format", exclude=True),
        ],
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
        return event_stream.event_stream_response(request, job.pk, query_params.cursor(request))

    @extend_schema(
        summary="Get metrics as columns",
        description="The metrics as columns of equal length for a chart, downsampled to at most "
        "`max_points` steps or epochs. A series without a value at a step has null there, and one "
        "with several values has the last.",
        parameters=[
            query_params.SERIES_PARAMETER,
            query_params.MAX_POINTS_PARAMETER,
            query_params.REPEATS_PARAMETER,
        ],
        responses={200: ColumnsSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def metrics(self, request: Request, pk: str) -> Response:
        job = self.get_object()
        limit = query_params.max_points(request)
        with_repeats = query_params.boolean(request, "repeats")

        def columns() -> chart_series.MetricsJson:
            names = query_params.requested_series(request, chart_series.series_names(job))
            return chart_series.metrics_json(job, names, limit, with_repeats=with_repeats)

        etag = etags.make_etag(request.get_full_path(), _metrics_version(job))
        return etags.conditional_response(request, etag, columns)

    @extend_schema(
        summary="Summarize metrics",
        description="The last and the best value of each metric, and its value in the best epoch.",
        parameters=[query_params.SERIES_PARAMETER],
        responses={200: MetricSummariesSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, url_path="metrics/summary", pagination_class=None, filter_backends=[])
    def metrics_summary(self, request: Request, pk: str) -> Response:
        job = self.get_object()

        def summary() -> metric_summary.MetricSummariesJson:
            names = query_params.requested_series(request, chart_series.series_names(job))
            return metric_summary.as_json(job, metric_summary.summarize_metrics(job, names))

        etag = etags.make_etag(request.get_full_path(), _metrics_version(job), job.best_epoch)
        return etags.conditional_response(request, etag, summary)

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
                "url": f"{url}/{quote(artifact.name)}",
            }
            for artifact in artifacts.list_artifacts(self.get_object())
        ]
        page = {"next": None, "previous": None, "results": results}
        return etags.conditional_response(request, etags.make_etag(page), lambda: page)

    @extend_schema(
        summary="Export a job",
        description="The epochs as `csv` or `jsonl`, every point as CSV with one row a value "
        "(`points`), a TensorBoard event file (`tensorboard`), or a zip of an `mlruns` folder "
        "(`mlflow`).",
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
    def export(self, request: Request, pk: str) -> HttpResponseBase:
        job = self.get_object()
        response = exports.export_response(request, job)
        audit.record("download", job, export=request.query_params.get("format", "csv")[:20])
        return count_download(self._user, response)

    @extend_schema(
        operation_id="training_jobs_artifact_download",
        summary="Download an artifact",
        description="Supports `Range`. The first download of an exported model generates it, which "
        "takes up to a minute.",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, 404: ProblemSerializer},
    )
    @action(
        detail=True,
        url_path=r"artifacts/(?P<name>.+)",
        filter_backends=[],
        content_negotiation_class=downloads.IgnoreClientContentNegotiation,
    )
    def artifact(self, request: Request, pk: str, name: str) -> HttpResponseBase:
        job = self.get_object()
        found = artifacts.find_artifact(job, name)
        if found is None:
            raise NotFound(f"This job has no artifact {name!r}; GET …/artifacts lists them.")
        if found.needs_export:
            with limits.hold(self._user, limits.PREDICTIONS):
                path = artifacts.ensure_exported(found)
        else:
            path = found.path
        return artifact_response(request, self._user, job, found, path)

    @extend_schema(
        operation_id="training_jobs_artifact_upload",
        summary="Upload an artifact",
        description="Stores a file of a reported job; the name may have folders. A file of the "
        "same name is replaced.",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={
            201: ArtifactSerializer,
            400: ProblemSerializer,
            404: ProblemSerializer,
            409: ProblemSerializer,
            413: ProblemSerializer,
        },
    )
    @artifact.mapping.put
    def upload_artifact(self, request: Request, pk: str, name: str) -> Response:
        job = self.get_object()
        if not job.reported:
            raise NotAReportedJobError
        try:
            artifact = uploads.store(request, job, name, settings.ARTIFACTS_MAX_BYTES)
        except artifacts.ArtifactNameError as error:
            raise InvalidInputError({"name": [str(error)]}) from error
        except artifacts.ArtifactQuotaError as error:
            raise ArtifactsTooLargeError(str(error)) from error
        url = request.build_absolute_uri(request.path)
        return Response(
            {
                "name": artifact.name,
                "kind": artifact.kind,
                "description": artifact.description,
                "bytes": artifact.bytes,
                "url": url,
            },
            status=status.HTTP_201_CREATED,
        )


def _check_events_are_kept(job: Job, after: int) -> None:
    deleted = packing.deleted_up_to(job.pk)
    if after < deleted:
        raise EventsDeletedError(
            f"The retention policy deleted the events of this job up to seq {deleted}. "
            f"Read those after it with ?after={deleted}, and the epochs at …/epochs."
        )


def _metrics_version(job: Job) -> int:
    """Changes with the metrics. A stored epoch never changes, except by later points."""
    return store.revision(job.pk) if job.has_points else job.current_epoch
