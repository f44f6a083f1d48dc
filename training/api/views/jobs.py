"""Jobs over HTTP: queue, look, steer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.filters import SearchFilter
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import get_team, require_owner, visible_to
from training.api import etags, filters, ordering, query_params
from training.api.idempotency import PARAMETER, REFUSAL_RESPONSES, create_once
from training.api.keyset_pagination import KeysetPagination
from training.api.parameter_filter import ParameterFilter
from training.api.schemas import CreateJob, JobPatch
from training.api.serializers.jobs import JobSerializer, ProblemSerializer
from training.api.views.job_history import JobHistory
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job
from training.validation import validate
from training.workers.registry import Capacity

ASKED: dict[str, Any] = {
    "parameters": [etags.IF_MATCH],
    "request": None,
    "responses": {
        202: JobSerializer,
        404: ProblemSerializer,
        409: ProblemSerializer,
        412: ProblemSerializer,
    },
}


class NoTraining(APIException):
    """A generation is asked for by another call."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "A generation cannot be cloned; POST /datasets/generate."


@extend_schema_view(
    list=extend_schema(summary="Jobs, the newest first"),
    retrieve=extend_schema(summary="One job", responses={200: JobSerializer}),
)
class JobViewSet(JobHistory):
    """One's own jobs, and for staff everyone's."""

    serializer_class = JobSerializer
    pagination_class = KeysetPagination
    filter_backends = (
        filters.StrictFilterBackend,
        SearchFilter,
        ParameterFilter,
        filters.TagFilterBackend,
    )
    filterset_class = filters.JobFilter
    search_fields = ("name", "notes")
    orderings, ordering = ordering.JOBS, "-created_at"
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        return visible_to(Job.objects.select_related("owner", "dataset", "team"), self._user)

    @cached_property
    def _hardware(self) -> Capacity:
        return Capacity()

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "hardware": self._hardware}

    def tag_of(self, row: Job) -> str:
        return etags.job_etag(row, self._hardware.waits_for(row))

    @extend_schema(
        summary="Queue a training",
        request=CreateJob,
        parameters=[PARAMETER],
        responses={201: JobSerializer, **REFUSAL_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> tuple[CreateJob, Dataset]:
            wanted = validate(CreateJob, query_params.json_object(request))
            return wanted, query_params.usable_dataset(self._user, str(wanted.dataset_id))

        def create(prepared: tuple[CreateJob, Dataset]) -> Response:
            wanted, dataset = prepared
            labels = {**wanted.labels(), "team": get_team(self._user, wanted.team)}
            job = lifecycle.submit(self._user, dataset, wanted.config(), **labels)
            return self._job(job, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    @extend_schema(
        summary="Change name, notes or tags",
        parameters=[etags.IF_MATCH],
        request=JobPatch,
        responses={200: JobSerializer, 412: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        patch = validate(JobPatch, query_params.json_object(request)).model_dump(exclude_unset=True)
        with self._as_the_client_knows_it() as (job, when):
            if "team" in patch:
                require_owner(job, self._user)
                patch["team"] = get_team(self._user, patch["team"])
            return self._job(lifecycle.update_metadata(job, when, **patch), status.HTTP_200_OK)

    @extend_schema(
        summary="Forget a job",
        parameters=[etags.IF_MATCH],
        responses={
            204: None,
            403: ProblemSerializer,
            409: ProblemSerializer,
            412: ProblemSerializer,
        },
    )
    def destroy(self, request: Request, pk: str) -> Response:
        with self._as_the_client_knows_it() as (job, when):
            require_owner(job, self._user)
            lifecycle.delete_job(job, when)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Pause after the running epoch", **ASKED)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._job(lifecycle.request_pause(self._known(), self._user.username))

    @extend_schema(summary="Go on from the last checkpoint", **ASKED)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._job(lifecycle.resume(self._known(), self._user.username))

    @extend_schema(summary="Stop for good", **ASKED)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._job(lifecycle.request_cancel(self._known(), self._user.username))

    @extend_schema(
        summary="The same training once more",
        request=None,
        parameters=[PARAMETER],
        responses={201: JobSerializer, 404: ProblemSerializer, **REFUSAL_RESPONSES},
    )
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str) -> Response:
        def prepare() -> tuple[Job, Dataset]:
            job = self.get_object()
            if job.kind != Job.Kind.TRAINING:
                raise NoTraining
            return job, query_params.usable_dataset(self._user, str(job.dataset_id))

        def create(prepared: tuple[Job, Dataset]) -> Response:
            job, dataset = prepared
            labels = {"notes": job.notes, "tags": job.tags, "parent": job, "team": job.team}
            config = TrainConfig.model_validate(job.config)
            twin = lifecycle.submit(self._user, dataset, config, job.name, **labels)
            return self._job(twin, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    def _known(self) -> Job:
        """The job; 412 where the client names a state that it no longer has."""
        job = self.get_object()
        etags.require_match(self.request, self.tag_of(job))
        return job

    @contextmanager
    def _as_the_client_knows_it(self) -> Iterator[tuple[Job, Q]]:
        """The job, and what must still hold of it when it is changed."""
        job = self.get_object()
        named = etags.require_match(self.request, self.tag_of(job))
        when = lifecycle.unchanged_since(job) if named else Q()
        try:
            yield job, when
        except lifecycle.ConflictError as error:
            if named and not Job.objects.filter(when, pk=job.pk).exists():
                raise etags.PreconditionFailed from error  # between the two lines above
            raise

    def _job(self, job: Job, code: int = status.HTTP_202_ACCEPTED) -> Response:
        fresh = get_object_or_404(self.get_queryset(), pk=job.pk)
        return Response(self.get_serializer(fresh).data, status=code)
