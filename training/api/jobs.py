"""Jobs over HTTP: queue, look, steer."""

from __future__ import annotations

import json
from typing import cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training import artifacts, lifecycle, series
from training.access import must_own, share, team_of, visible
from training.api import pages, queries, stream
from training.api.requests import CreateJob, JobPatch
from training.configs import BadConfig, read
from training.engine.config import TrainConfig
from training.journal import frames
from training.models import Job, TrainedModel
from training.serializers import (
    ArtifactsSerializer,
    ColumnsSerializer,
    EpochSerializer,
    EventPageSerializer,
    JobSerializer,
    ProblemSerializer,
)

EVENTS_PAGE = 500


ASKED = {202: JobSerializer, 404: ProblemSerializer, 409: ProblemSerializer}


@extend_schema_view(
    list=extend_schema(summary="Jobs, the newest first"),
    retrieve=extend_schema(summary="One job", responses={200: JobSerializer}),
)
class JobViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet[Job]):
    """One's own jobs, and for staff everyone's."""

    serializer_class = JobSerializer
    pagination_class = pages.Newest
    filter_backends = (filters.DjangoFilterBackend, SearchFilter, OrderingFilter)
    filterset_class = queries.JobFilter
    search_fields = ("name", "notes")
    ordering_fields = ("created_at", "finished_at", "best_val_loss", "best_val_rmse", "name")
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        return visible(Job.objects.select_related("owner", "dataset", "team"), self._user)

    @property
    def _user(self) -> User:
        return cast(User, self.request.user)

    @extend_schema(
        summary="Queue a training",
        request=CreateJob,
        responses={201: JobSerializer, 400: ProblemSerializer},
    )
    def create(self, request: Request) -> Response:
        wanted = read(CreateJob, queries.json_object(request))
        dataset = queries.usable_dataset(self._user, str(wanted.dataset_id))
        job = lifecycle.submit(
            self._user,
            dataset,
            wanted.config(),
            team=team_of(self._user, wanted.team),
            **wanted.labels(),
        )
        return self._job(job, status.HTTP_201_CREATED)

    @extend_schema(
        summary="Change name, notes or tags", request=JobPatch, responses={200: JobSerializer}
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        patch = read(JobPatch, queries.json_object(request)).model_dump(exclude_unset=True)
        job = self.get_object()
        if "team" in patch:
            share(job, self._user, patch.pop("team"))
        return self._job(lifecycle.relabel(job, **patch), status.HTTP_200_OK)

    @extend_schema(
        summary="Forget a job",
        responses={204: None, 403: ProblemSerializer, 409: ProblemSerializer},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        job = self.get_object()
        must_own(job, self._user)
        lifecycle.delete(job)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Pause after the running epoch", request=None, responses=ASKED)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._job(lifecycle.request_pause(self.get_object(), self._user.username))

    @extend_schema(summary="Go on from the last checkpoint", request=None, responses=ASKED)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._job(lifecycle.resume(self.get_object(), self._user.username))

    @extend_schema(summary="Stop for good", request=None, responses=ASKED)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._job(lifecycle.request_cancel(self.get_object(), self._user.username))

    @extend_schema(
        summary="The same training once more",
        request=None,
        responses={201: JobSerializer, 400: ProblemSerializer},
    )
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str) -> Response:
        job = self.get_object()
        if job.kind != Job.Kind.TRAINING:
            raise BadConfig({"id": ["A generation cannot be cloned; POST /datasets/generate."]})
        dataset = queries.usable_dataset(self._user, str(job.dataset_id))
        config = TrainConfig.model_validate(job.config)
        twin = lifecycle.submit(
            self._user,
            dataset,
            config,
            job.name,
            notes=job.notes,
            tags=job.tags,
            parent=job,
            team=job.team,
        )
        return self._job(twin, status.HTTP_201_CREATED)

    @extend_schema(summary="Every stored epoch", responses={200: EpochSerializer(many=True)})
    @action(detail=True, pagination_class=pages.ByEpoch, filter_backends=[])
    def epochs(self, request: Request, pk: str) -> Response:
        pager = pages.ByEpoch()
        page = pager.paginate_queryset(self.get_object().epochs.all(), request, self)
        return pager.get_paginated_response(EpochSerializer(page, many=True).data)

    @extend_schema(
        summary="The events after a seq, as on the wire",
        parameters=[OpenApiParameter("after", OpenApiTypes.INT, description="default 0: all")],
        responses={200: EventPageSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def events(self, request: Request, pk: str) -> Response:
        job, after = self.get_object(), queries.after(request)
        found = frames(job.pk, after, EVENTS_PAGE)
        more = len(found) == EVENTS_PAGE and found[-1].seq < job.seq
        here = request.build_absolute_uri(request.path)
        return Response(
            {
                "next": f"{here}?after={found[-1].seq}" if more else None,
                "previous": f"{here}?after={max(after - EVENTS_PAGE, 0)}" if after else None,
                "results": [json.loads(frame.body) for frame in found],
            }
        )

    @extend_schema(
        summary="The same live, as server-sent events",
        description="The frames of the socket; `Last-Event-ID` is honoured.",
        parameters=[OpenApiParameter("after", OpenApiTypes.INT, description="default 0: all")],
        responses={(200, "text/event-stream"): OpenApiTypes.STR, 404: ProblemSerializer},
    )
    @action(
        detail=True,
        url_path="events/stream",
        pagination_class=None,
        filter_backends=[],
        renderer_classes=[stream.EventStream, JSONRenderer],
    )
    def events_stream(self, request: Request, pk: str) -> StreamingHttpResponse:
        return stream.answer(self._user.pk, self.get_object().pk, queries.last_seen(request))

    @extend_schema(
        summary="Its metrics over the epochs, as columns for a chart",
        parameters=[
            OpenApiParameter("series", OpenApiTypes.STR, description="names, by commas: all"),
            OpenApiParameter(
                "max_points", OpenApiTypes.INT, description="10 to 10000, default 1000"
            ),
        ],
        responses={200: ColumnsSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def metrics(self, request: Request, pk: str) -> Response:
        job = self.get_object()
        limit = queries.points(request)
        names = queries.named_series(request, series.known(job))
        return Response(series.columns(job, names, limit).as_json())

    @extend_schema(
        summary="How good it is on the test split",
        responses={200: OpenApiTypes.OBJECT, 404: ProblemSerializer},
    )
    @action(detail=True)
    def evaluation(self, request: Request, pk: str) -> Response:
        model = TrainedModel.objects.filter(job=self.get_object()).first()
        if model is None:
            raise NotFound("This job has no evaluation: only a completed training has one.")
        return Response(model.evaluation)

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
            for one in artifacts.of(self.get_object())
        ]
        return Response({"next": None, "previous": None, "results": found})

    @extend_schema(
        operation_id="training_jobs_artifact_download",
        summary="Download one of them; an export is made first, which takes up to a minute",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, 404: ProblemSerializer},
    )
    @action(detail=True, url_path=r"artifacts/(?P<name>[A-Za-z0-9._-]+)", filter_backends=[])
    def artifact(self, request: Request, pk: str, name: str) -> HttpResponse:
        found = next((one for one in artifacts.of(self.get_object()) if one.name == name), None)
        if found is None:
            raise NotFound(f"This job has no artifact {name!r}; see /artifacts for those it has.")
        answer = HttpResponse(
            artifacts.ready(found).read_bytes(), content_type="application/octet-stream"
        )
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    def _job(self, job: Job, code: int = status.HTTP_202_ACCEPTED) -> Response:
        fresh = get_object_or_404(self.get_queryset(), pk=job.pk)
        return Response(JobSerializer(fresh).data, status=code)
