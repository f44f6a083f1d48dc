"""Endpoints of jobs: submit, change and control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from pydantic import BaseModel
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import (
    get_team,
    require_owner,
    usable_team,
    visible_in_order,
    visible_to,
)
from training.api import etags, filters, ordering, query_params
from training.api.idempotency import ERROR_RESPONSES, PARAMETER, create_once
from training.api.keyset_pagination import KeysetPagination
from training.api.metric_filter import MetricFilter
from training.api.new_job import ANY_JOB, NewJob, installed_program, parse_new_job
from training.api.parameter_filter import ParameterFilter
from training.api.schemas import JobChanges
from training.api.serializers.jobs import JobSerializer
from training.api.serializers.problems import ProblemSerializer
from training.api.views.job_data import JobDataViewSet
from training.jobs import lifecycle
from training.jobs.origins import find_origin, origin_id
from training.jobs.policy import QueuePolicy
from training.jobs.projects import project_for_job, team_of_new_row, usable_project
from training.models import Dataset, Job
from training.validation import validate
from training.workers.registry import Capacity

# The schema of an action on a job, without summary and description.
action_schema = partial(
    extend_schema,
    parameters=[etags.IF_MATCH],
    request=None,
    responses={
        202: JobSerializer,
        404: ProblemSerializer,
        409: ProblemSerializer,
        412: ProblemSerializer,
    },
)


class NotATrainingError(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = (
        "Only a training that Heimdall runs can be cloned. This job generates a dataset, or its "
        "training runs elsewhere."
    )


@extend_schema_view(
    list=extend_schema(
        summary="List jobs",
        description="Jobs you own or that are shared with your teams (staff: all jobs), newest "
        "first unless `ordering` is set.",
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
        filters.JobSearchFilter,
        ParameterFilter,
        MetricFilter,
        filters.TagFilterBackend,
    )
    filterset_class = filters.JobFilter
    search_fields = ("name", "notes")
    orderings, ordering = ordering.JOB_SORT_KEYS, "-created_at"
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        rows = Job.objects.select_related("owner", "dataset", "team", "project")
        visible = visible_in_order if self.action == "list" else visible_to
        return visible(rows, self._user)

    @cached_property
    def _capacity(self) -> Capacity:
        return Capacity()

    def get_serializer_context(self) -> Mapping[str, object]:
        return {**super().get_serializer_context(), "capacity": self._capacity}

    def etag_of(self, row: Job) -> str:
        return etags.job_etag(row, self._capacity.waits_for(row))

    @extend_schema(
        summary="Submit a training job",
        description="Validates the hyperparameters and queues a training job. Omitted fields have "
        "defaults.",
        request={"application/json": ANY_JOB},
        parameters=[PARAMETER],
        responses={201: JobSerializer, **ERROR_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> NewJob:
            return parse_new_job(self._user, query_params.json_object(request))

        @transaction.atomic  # a rejected request creates no project
        def create(new: NewJob) -> Response:
            data = new.request
            project = project_for_job(self._user, data.project)
            team = get_team(self._user, data.team) or team_of_new_row(self._user, project)
            job = lifecycle.submit(
                self._user,
                new.dataset,
                new.parameters,
                data.name,
                policy=data.policy(),
                program=data.program,
                project=project,
                init_from=new.init_from,
                team=team,
                notes=data.notes,
                tags=data.tags,
            )
            return self._job_response(job, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    @extend_schema(
        summary="Update a job",
        description="Changes name, notes, tags or team, and the priority of a job that is queued "
        "or paused. Only the owner and staff can change the team.",
        parameters=[etags.IF_MATCH],
        request=JobChanges,
        responses={200: JobSerializer, 409: ProblemSerializer, 412: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        patch = validate(JobChanges, query_params.json_object(request)).model_dump(
            exclude_unset=True
        )
        with self._conditional_change() as (job, condition):
            if "team" in patch:
                require_owner(job, self._user)
                patch["team"] = get_team(self._user, patch["team"])
            changed = self._change(job, condition, patch)
        return self._job_response(changed, status.HTTP_200_OK)

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

    @action_schema(
        summary="Pause a job",
        description="Requests a pause. A running job saves a checkpoint and stops after the "
        "current epoch. A queued job is paused at once.",
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._job_response(
            lifecycle.request_pause(self._matching_job(), self._user.username)
        )

    @action_schema(
        summary="Resume a job",
        description="Queues a paused or failed job again. It continues from its last valid "
        "checkpoint.",
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._job_response(lifecycle.resume(self._matching_job(), self._user.username))

    @action_schema(
        summary="Cancel a job",
        description="Stops the job permanently. Its metrics and best checkpoint are kept.",
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._job_response(
            lifecycle.request_cancel(self._matching_job(), self._user.username)
        )

    @extend_schema(
        summary="Clone a job",
        description="Queues a training job with the same dataset and configuration. Its team "
        "and project are those of the job if you may use them.",
        request=None,
        parameters=[PARAMETER],
        responses={201: JobSerializer, 404: ProblemSerializer, **ERROR_RESPONSES},
    )
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str) -> Response:
        def prepare() -> tuple[Job, Dataset | None, BaseModel]:
            query_params.refuse_body(request)
            job = self.get_object()
            if job.kind != Job.Kind.TRAINING or job.reported:
                raise NotATrainingError
            # A configuration from an earlier version may violate the current bounds.
            program = installed_program(job.program)
            parameters = validate(program.parameters, job.config)
            if origin := origin_id(job):
                find_origin(self._user, program, origin)
            if job.dataset_id is None:
                return job, None, parameters
            dataset = query_params.usable_dataset(self._user, str(job.dataset_id))
            return job, dataset, parameters

        def create(prepared: tuple[Job, Dataset | None, BaseModel]) -> Response:
            job, dataset, parameters = prepared
            clone = lifecycle.submit(
                self._user,
                dataset,
                parameters,
                job.name,
                policy=QueuePolicy.of(job).allowed_for(self._user),
                program=job.program,
                notes=job.notes,
                tags=job.tags,
                parent=job,
                team=usable_team(self._user, job.team_id),
                project=usable_project(self._user, job.project_id),
                init_from=job.init_from,
            )
            return self._job_response(clone, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    def _change(self, job: Job, condition: Q, patch: dict[str, Any]) -> Job:
        if "priority" not in patch:
            return lifecycle.update_metadata(job, condition, **patch)
        with transaction.atomic():
            priority = patch.pop("priority")
            changed = lifecycle.set_priority(job, priority, self._user, condition)
            return lifecycle.update_metadata(changed, **patch) if patch else changed

    def _matching_job(self) -> Job:
        """The job. Raises PreconditionFailed if `If-Match` does not match."""
        query_params.refuse_body(self.request)
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
