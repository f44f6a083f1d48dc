"""Trackio's HTTP interface: `GET /version`, and `POST /api/NAME` with arguments by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from pydantic import BaseModel
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.accounts.tokens import TokenCredential
from training.api import query_params
from training.api.authentication import BearerAuthentication, authenticate
from training.api.report_bodies import ReportParser
from training.api.throttling import ReportThrottle
from training.models.scopes import Scope
from training.trackio import messages as m
from training.trackio import recording, runs
from training.validation import InvalidInputError, validate

# Interface version; the client adapts its requests to it.
API_VERSION = 1
HEADER = "X-Trackio-Write-Token"

Body = TypeVar("Body", bound=BaseModel)


class WriteTokenAuthentication(BearerAuthentication):
    """An API token in Trackio's own header, else as bearer."""

    def authenticate(self, request: Request) -> tuple[User, TokenCredential] | None:
        token = request.headers.get(HEADER)
        return authenticate(token) if token else super().authenticate(request)


class LargeReportParser(ReportParser):
    """A client sends everything that it buffered during an outage in one request.

    With httpx before 0.28 it contains NaN and infinities as Python writes them, which is not valid
    JSON.
    """

    max_bytes, max_values = int(settings.TRACKIO_MAX_BYTES), 4_000_000

    def loads(self, content: bytes) -> Any:
        try:
            return super().loads(content)
        except ParseError:
            with suppress(ValueError, RecursionError):
                return json.loads(content, parse_int=_integer)
            raise


def _integer(digits: str) -> float:
    # Python converts no more than 4,300 digits to an integer.
    return int(digits) if len(digits) < 20 else float(digits)


class TrackioView(APIView):
    authentication_classes = (WriteTokenAuthentication,)
    throttle_classes = (ReportThrottle,)
    parser_classes = (LargeReportParser,)
    schema = None  # described by Trackio


class VersionView(TrackioView):
    """The first request of a client. It needs a token, so that a wrong one is noticed at once."""

    def get(self, request: Request) -> Response:
        return Response({"version": "heimdall", "api_version": API_VERSION})


@dataclass(frozen=True, slots=True)
class Operation:
    """`answer` gets the user and the arguments, an instance of `arguments`."""

    scope: Scope
    arguments: type[BaseModel]
    answer: Callable[[User, Any], BaseModel | list[Any] | None]


def operation(
    scope: Scope,
    arguments: type[Body],
    answer: Callable[[User, Body], BaseModel | list[Any] | None],
) -> Operation:
    return Operation(scope, arguments, answer)


OPERATIONS = {
    "get_runs_for_project": operation("read", m.ProjectName, runs.list_runs),
    "get_run_summary": operation("read", m.RunSummaryQuery, runs.summarize_run),
    "bulk_log": operation("report", m.BulkLog, recording.record_logs),
    "bulk_log_system": operation("report", m.BulkLogSystem, recording.record_system),
    "bulk_upload_media": operation("report", m.BulkUpload, recording.note_uploads),
    "bulk_alert": operation("report", m.BulkAlert, recording.record_alerts),
}


class OperationView(TrackioView):
    """Answers `{"data": …}`."""

    operation: ClassVar[Operation | None] = None

    @property
    def scope(self) -> Scope | None:
        return self.operation.scope if self.operation else None

    def post(self, request: Request) -> Response:
        assert self.operation is not None
        body = query_params.json_object(request)
        arguments = body.get("kwargs", body)
        if not isinstance(arguments, dict):
            raise InvalidInputError({"kwargs": ["An object with the arguments is required."]})
        parsed = validate(self.operation.arguments, m.storable(arguments))
        answered = self.operation.answer(cast(User, request.user), parsed)
        return Response({"data": _plain(answered)})


class UploadView(TrackioView):
    """Accepts a file, whose path the client sends in `bulk_upload_media`, without storing it."""

    scope: Scope = "report"

    def post(self, request: Request) -> Response:
        return Response({"paths": [uuid4().hex]})


def _plain(answered: BaseModel | list[Any] | None) -> Any:
    if isinstance(answered, BaseModel):
        return answered.model_dump(mode="json")
    return [one.model_dump(mode="json") for one in answered or []] if answered is not None else None
