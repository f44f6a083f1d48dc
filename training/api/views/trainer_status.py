"""The endpoint to which a trainer inside a program reports how far it is."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import visible_to
from training.api import query_params
from training.api.report_bodies import ReportParser
from training.api.serializers.problems import ProblemSerializer
from training.api.throttling import ReportThrottle
from training.api.views.base import UserViewSet
from training.jobs.attempts import Attempt, SupersededError
from training.jobs.trainer_status import RefusedMetric, StatusBody, record_status
from training.models import Job
from training.validation import validate


class AttemptEndedError(APIException):
    status_code = status.HTTP_409_CONFLICT


class RefusedMetricSerializer(serializers.Serializer[RefusedMetric]):
    name = serializers.CharField()
    reason = serializers.CharField()


class StatusResultSerializer(serializers.Serializer[StatusBody]):
    rejected = RefusedMetricSerializer(many=True)


class TrainerStatusViewSet(UserViewSet[Job]):
    """Jobs that the user may control."""

    pagination_class = None
    filter_backends = ()
    parser_classes = (ReportParser,)
    throttle_classes = (ReportThrottle,)
    scope = "report"
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        return visible_to(Job.objects.all(), self._user)

    @extend_schema(
        summary="Report a trainer's status",
        description="Progress, time left and metrics of a running attempt, as trainers report them "
        "to Kubeflow. Hugging Face's `Trainer` sends it to `KUBEFLOW_TRAINER_SERVER_URL`, which "
        "the worker sets for programs. A value is stored once, at the first step whose status has "
        "it. Metrics that cannot be stored are listed in `rejected`.",
        request=StatusBody,
        responses={
            200: StatusResultSerializer,
            400: ProblemSerializer,
            404: ProblemSerializer,
            409: ProblemSerializer,
            413: ProblemSerializer,
        },
    )
    def create(self, request: Request, pk: str, number: str) -> Response:
        job = self.get_object()
        body = validate(StatusBody, query_params.json_object(request))
        try:
            refused = record_status(Attempt(job.pk, int(number), job.program), body.trainer_status)
        except SupersededError as error:
            raise AttemptEndedError(
                f"Attempt {number} of this job is not running: the job is {job.status}, and its "
                f"newest attempt is {job.attempt}."
            ) from error
        return Response({"rejected": [{"name": one.name, "reason": one.reason} for one in refused]})
