"""Endpoints of jobs: submit, change and control."""

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
from training.api.idempotency import ERROR_RESPONSES, PARAMETER, create_once
from training.api.keyset_pagination import KeysetPagination
from training.api.parameter_filter import ParameterFilter
from training.api.schemas import CreateJob, JobPatch, JobRequest
from training.api.serializers.jobs import JobSerializer
from training.api.serializers.problems import ProblemSerializer
from training.api.views.job_data import JobDataViewSet
from training.jobs import lifecycle
from training.jobs.policy import QueuePolicy
from training.models import Dataset, Job
from training.programs.registry import get_program
from training.validation import validate
from training.workers.registry import Capacity

ACTION_SCHEMA: dict[str, Any] = {
    "parameters": [etags.IF_MATCH],
    "request": None,
    "responses": {
        202: JobSerializer,
        404: ProblemSerializer,
        409: ProblemSerializer,
        412: ProblemSerializer,
    },
}


class NotATrainingError(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "A generation job cannot be cloned; use POST /datasets/generate."


@extend_schema_view(
    list=extend_schema(
        summary="List jobs",
        description="Jobs you own or that are shared with your teams (staff: all jobs), newest "
        "first unless `ordering` says otherwise.",
    ),
    retrieve=extend_schema(
        summary="Get a job",
        description="The job with its configuration and current state.",
        responses={200: JobSerializer},
    ),
)
class JobViewSet(JobDataViewSet):
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
    orderings, ordering = ordering.JOB_SORT_KEYS, "-created_at"
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        return visible_to(Job.objects.select_related("owner", "dataset", "team"), self._user)

    @cached_property
    def _capacity(self) -> Capacity:
        return Capacity()

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "capacity": self._capacity}

    def etag_of(self, row: Job) -> str:
        return etags.job_etag(row, self._capacity.waits_for(row))

    @extend_schema(
        summary="Submit a training job",
        description="Validates the hyperparameters and queues a training job. Omitted fields have "
        "defaults.",
        request=CreateJob,
        parameters=[PARAMETER],
        responses={201: JobSerializer, **ERROR_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> tuple[JobRequest, Dataset]:
            data = validate(CreateJob, query_params.json_object(request))
            return data, query_params.usable_dataset(self._user, str(data.dataset_id))

        def create(prepared: tuple[JobRequest, Dataset]) -> Response:
            data, dataset = prepared
            metadata = {**data.metadata(), "team": get_team(self._user, data.team)}
            job = lifecycle.submit(
                self._user, dataset, data.parameters(), policy=data.policy(), **metadata
            )
            return self._job_response(job, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    @extend_schema(
        summary="Update a job",
        description="Changes name, notes, tags or team. Only the owner and staff can change the "
        "team.",
        parameters=[etags.IF_MATCH],
        request=JobPatch,
        responses={200: JobSerializer, 412: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        patch = validate(JobPatch, query_params.json_object(request)).model_dump(exclude_unset=True)
        with self._conditional_change() as (job, condition):
            if "team" in patch:
                require_owner(job, self._user)
                patch["team"] = get_team(self._user, patch["team"])
            return self._job_response(
                lifecycle.update_metadata(job, condition, **patch), status.HTTP_200_OK
            )

    @extend_schema(
        summary="Delete a job",
        description="Deletes a job that is paused or finished, with its files. Only its owner and "
        "staff can do this.",
        parameters=[etags.IF_MATCH],
        responses={
            204: None,
            403: ProblemSerializer,
            409: ProblemSerializer,
            412: ProblemSerializer,
        },
    )
    def destroy(self, request: Request, pk: str) -> Response:
        with self._conditional_change() as (job, condition):
            require_owner(job, self._user)
            lifecycle.delete_job(job, condition)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Pause a job",
        description="Requests a pause. A running job saves a checkpoint and stops after the "
        "current epoch, a queued job is paused at once.",
        **ACTION_SCHEMA,
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._job_response(
            lifecycle.request_pause(self._matching_job(), self._user.username)
        )

    @extend_schema(
        summary="Resume a job",
        description="Queues a paused or failed job again. It continues from its last valid "
        "checkpoint.",
        **ACTION_SCHEMA,
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._job_response(lifecycle.resume(self._matching_job(), self._user.username))

    @extend_schema(
        summary="Cancel a job",
        description="Stops the job permanently. Its metrics and best checkpoint are kept.",
        **ACTION_SCHEMA,
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._job_response(
            lifecycle.request_cancel(self._matching_job(), self._user.username)
        )

    @extend_schema(
        summary="Clone a job",
        description="Queues a training job with the same dataset and configuration.",
        request=None,
        parameters=[PARAMETER],
        responses={201: JobSerializer, 404: ProblemSerializer, **ERROR_RESPONSES},
    )
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str) -> Response:
        def prepare() -> tuple[Job, Dataset]:
            job = self.get_object()
            if job.kind != Job.Kind.TRAINING:
                raise NotATrainingError
            return job, query_params.usable_dataset(self._user, str(job.dataset_id))

        def create(prepared: tuple[Job, Dataset]) -> Response:
            job, dataset = prepared
            metadata = {"notes": job.notes, "tags": job.tags, "parent": job, "team": job.team}
            program = get_program(job.program)
            clone = lifecycle.submit(
                self._user,
                dataset,
                program.parameters.model_validate(job.config),
                job.name,
                policy=QueuePolicy.of(job),
                program=program.name,
                **metadata,
            )
            return self._job_response(clone, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    def _matching_job(self) -> Job:
        """The job. Raises PreconditionFailed if `If-Match` does not match."""
        job = self.get_object()
        etags.require_match(self.request, self.etag_of(job))
        return job

    @contextmanager
    def _conditional_change(self) -> Iterator[tuple[Job, Q]]:
        """Yield the job and the condition under which it may be changed, from `If-Match`."""
        job = self.get_object()
        has_etag = etags.require_match(self.request, self.etag_of(job))
        condition = lifecycle.unchanged_since(job) if has_etag else Q()
        try:
            yield job, condition
        except lifecycle.ConflictError as error:
            if has_etag and not Job.objects.filter(condition, pk=job.pk).exists():
                # It changed after the comparison with `If-Match` above.
                raise etags.PreconditionFailed from error
            raise

    def _job_response(self, job: Job, code: int = status.HTTP_202_ACCEPTED) -> Response:
        current = get_object_or_404(self.get_queryset(), pk=job.pk)
        return Response(self.get_serializer(current).data, status=code)
