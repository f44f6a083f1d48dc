"""Endpoints of reported jobs: a training that runs elsewhere sends its points, log and end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel, ConfigDict, Field
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from heimdall_sdk.text import clean_text
from training.accounts.permissions import get_team, visible_to
from training.api import query_params
from training.api.idempotency import ERROR_RESPONSES, PARAMETER, create_once
from training.api.moments import PastMoment
from training.api.report_bodies import LogParser, ReportParser
from training.api.serializers.jobs import JobSerializer
from training.api.serializers.problems import ProblemSerializer
from training.api.serializers.reports import (
    BatchResultSerializer,
    LogSizeSerializer,
    StopSerializer,
)
from training.api.throttling import ReportThrottle
from training.api.views.base import UserViewSet
from training.jobs import reports
from training.jobs.points import Rejection, read_points
from training.jobs.projects import project_for_job, team_of_new_row
from training.models import Job
from training.models.states import Stop
from training.points.rows import Row
from training.text import Name
from training.validation import InvalidInputError, validate

MAX_POINTS = 10_000
REPORT_ERRORS = {400: ProblemSerializer, 404: ProblemSerializer, 413: ProblemSerializer}


class FinishReport(reports.Finish):
    """How and when the run ended."""

    finished_at: PastMoment | None = Field(
        None, description="When the run ended, if that is reported later. Default: now."
    )


class CreateReport(reports.NewReport):
    """A run to register."""

    team: Name | None = Field(
        None,
        max_length=150,
        description="A team whose members can view and control it; null: not shared.",
    )
    parent: UUID | None = Field(None, description="The job that this run is a part of.")
    external_id: str = Field(
        "",
        pattern=r"^[!-~]{0,200}$",
        description="Identifies a run that another tool has recorded. Registering the same one "
        "again changes nothing and returns your job of the first time, with status 200.",
    )
    started_at: PastMoment | None = Field(
        None, description="When the run began, if it is registered later. Default: now."
    )
    points: list[dict[str, Any]] = Field(
        [],
        max_length=MAX_POINTS,
        description="Its first points, in the form of a batch. "
        "If one point is invalid, all are rejected.",
    )
    end: FinishReport | None = Field(
        None, description="The end of a run that is complete with these points."
    )


class _Registration(NamedTuple):
    data: CreateReport
    parent: Job | None
    recorded: reports.Recorded


class PointsRequest(BaseModel):
    """A batch of points, as many as 10,000, in at most 8 MB of JSON."""

    model_config = ConfigDict(extra="forbid")

    batch: str = Field(
        pattern=r"^[!-~]{1,100}-[0-9]{1,18}$",
        description="`<client id>-<n>`: a batch is applied once, however often it is sent.",
    )
    points: list[dict[str, Any]] = Field(
        max_length=MAX_POINTS,
        description="Each `{step, time, epoch?, values: {name: number}}`, in any order; `time` is "
        'in seconds since 1970. NaN and infinities are "NaN", "Infinity" and "-Infinity". A '
        "step keeps all values of a name, each with its time; columns have the last one.",
    )


class ReportViewSet(UserViewSet[Job]):
    """Reported jobs that the user can see."""

    serializer_class = JobSerializer
    object_name = "Reported job"
    pagination_class = None
    filter_backends = ()
    parser_classes = (ReportParser,)
    throttle_classes = (ReportThrottle,)
    scope = "report"
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        return visible_to(Job.objects.filter(reports.REPORTED), self._user)

    def _exists(self) -> bool:
        rows = Job.objects.filter(reports.REPORTED)
        return super()._exists() and rows.filter(pk=self.kwargs["pk"]).exists()

    @extend_schema(
        summary="Register a run",
        description="Creates a reported job: its training runs elsewhere, and no worker claims it. "
        "It is `running` until it is finished, and `failed` while no report comes. A run that has "
        "ended may come with its points and its end.",
        request=CreateReport,
        parameters=[PARAMETER],
        responses={200: JobSerializer, 201: JobSerializer, **ERROR_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> _Registration:
            # Points have a check of their own, which is much faster.
            body = {**query_params.json_object(request)}
            points = _valid_points(body.pop("points", []))
            data = validate(CreateReport, body)
            if end := data.end:
                _check_end(data.started_at or timezone.now(), end, "end.finished_at")
            recorded = reports.Recorded(
                data.external_id, data.started_at, points, end, end.finished_at if end else None
            )
            return _Registration(data, self._parent(data.parent), recorded)

        @transaction.atomic  # a rejected request creates no project
        def create(new: _Registration) -> Response:
            project = project_for_job(self._user, new.data.project)
            team = get_team(self._user, new.data.team) or team_of_new_row(self._user, project)
            try:
                job, is_new = reports.find_or_register(
                    self._user, new.data, project, team, new.parent, new.recorded
                )
            except reports.PointsRejectedError as error:
                raise _points_problem(error.rejected) from error
            created = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
            return Response(self._job_json(job), status=created)

        return create_once(request, prepare, create)

    @extend_schema(
        summary="Report points",
        description="Stores a batch of points. A point that is not valid is listed in `rejected` "
        "and does not affect the others.",
        request=PointsRequest,
        responses={200: BatchResultSerializer, **REPORT_ERRORS},
    )
    @action(detail=True, methods=["post"])
    def points(self, request: Request, pk: str) -> Response:
        job = self._job(pk)
        batch, found = _batch(query_params.json_object(request))
        valid, rejected = read_points(found)
        without_room = reports.record_batch(job, batch, valid, self._user.username)
        refused = sorted([*rejected, *without_room], key=lambda one: one.point)
        return Response(_batch_result(job, len(found), refused))

    @extend_schema(
        operation_id="training_reports_log_append",
        summary="Append to the log",
        description="The run's output from byte `after` on. Sent again, it changes nothing.",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        parameters=[
            OpenApiParameter(
                "after",
                {"type": "integer", "minimum": 0, "maximum": query_params.MAX_INTEGER},
                description="The offset of the first byte; default 0.",
            )
        ],
        responses={200: LogSizeSerializer, **REPORT_ERRORS},
    )
    @action(detail=True, methods=["post"], parser_classes=[LogParser])
    def logs(self, request: Request, pk: str) -> Response:
        job, after = self._job(pk), query_params.integer(request, "after", 0)
        # An empty body is not parsed: DRF gives an empty mapping.
        content = cast(bytes, request.data or b"")
        size = reports.append_log(job, after, content, self._user.username)
        return Response({"size": size})

    @extend_schema(
        summary="Finish a run",
        description="Ends the job. Repeating the same request changes nothing; a different "
        "end is a conflict; a different time of the same end replaces the first.",
        request=FinishReport,
        responses={200: JobSerializer, 409: ProblemSerializer, **REPORT_ERRORS},
    )
    @action(detail=True, methods=["post"])
    def finish(self, request: Request, pk: str) -> Response:
        # A program's words are kept as far as they can be: the end of a run must not be lost.
        sent = {
            name: clean_text(value) if isinstance(value, str) else value
            for name, value in query_params.json_object(request).items()
        }
        job, ending = self._job(pk), validate(FinishReport, sent)
        if job.started_at:
            _check_end(job.started_at, ending, "finished_at")
        ended = reports.finish(job, ending, self._user.username, ending.finished_at)
        return Response(self._job_json(ended))

    @extend_schema(
        summary="Send a heartbeat",
        description="Reports that the run is alive. The response contains the requested stop.",
        request=None,
        responses={200: StopSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, methods=["post"])
    def heartbeat(self, request: Request, pk: str) -> Response:
        stop = reports.heartbeat(self._job(pk), self._user.username)
        return Response({"stop_requested": stop.value})

    def _job(self, pk: str) -> Job:
        job: Job = self.get_object()
        return job

    def _parent(self, pk: UUID | None) -> Job | None:
        if pk is None:
            return None
        found = visible_to(Job.objects.all(), self._user).filter(pk=pk).first()
        if found is None:
            raise InvalidInputError(
                {"parent": [f"Job {pk} does not exist, or you cannot view it."]}
            )
        return found

    def _job_json(self, job: Job) -> Any:
        rows = Job.objects.select_related("owner", "dataset", "team", "project")
        return self.get_serializer(rows.get(pk=job.pk)).data


def _check_end(started_at: datetime, ending: FinishReport, field: str) -> None:
    if ending.finished_at and ending.finished_at < started_at:
        begin, end = started_at.isoformat(), ending.finished_at.isoformat()
        raise InvalidInputError({field: [f"{end} is before the run began, {begin}."]})


def _valid_points(found: object) -> dict[int, Row]:
    if not isinstance(found, list) or len(found) > MAX_POINTS:
        raise InvalidInputError({"points": [f"A list of at most {MAX_POINTS:,} points."]})
    valid, rejected = read_points(found)
    if rejected:
        raise _points_problem(rejected)
    return valid


def _points_problem(rejected: Sequence[Rejection]) -> InvalidInputError:
    return InvalidInputError({f"points.{one.point}": [one.reason] for one in rejected[:10]})


def _batch(body: dict[str, Any]) -> tuple[reports.BatchId, list[object]]:
    errors: dict[str, list[str]] = {}
    batch, found = body.get("batch"), body.get("points")
    batch_id = reports.parse_batch_id(batch) if isinstance(batch, str) else None
    if batch_id is None:
        shown = repr(batch)[:80]
        errors["batch"] = [
            f"{shown} is not '<client id>-<n>': up to 100 printable ASCII characters, and a number."
        ]
    if not isinstance(found, list):
        errors["points"] = ["A list of points is required."]
    elif len(found) > MAX_POINTS:
        errors["points"] = [
            f"Too many points ({len(found):,}); at most {MAX_POINTS:,} allowed in a batch."
        ]
    for name in sorted(body.keys() - {"batch", "points"}):
        errors[name] = ["Unknown field."]
    if errors or batch_id is None or not isinstance(found, list):
        raise InvalidInputError(errors)
    return batch_id, found


def _batch_result(job: Job, count: int, rejected: list[Rejection]) -> dict[str, Any]:
    requested = Stop.CANCEL.value if job.status == "cancelled" else job.stop_requested
    return {
        "accepted": count - len(rejected),
        "rejected": [{"point": one.point, "reason": one.reason} for one in rejected],
        "stop_requested": requested,
    }
