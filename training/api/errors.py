"""Errors of the API as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    ObjectDoesNotExist,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
    ValidationError,
)
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler

from training import request_context
from training.accounts.idempotency import InProgressError, KeyReusedError
from training.accounts.permissions import NoSuchTeamError
from training.datasets.service import ArchiveTooLargeError, DatasetInUseError
from training.inference.client import InferenceError
from training.jobs.lifecycle import ConflictError
from training.programs.datasets import DatasetImportError, InvalidRowError
from training.validation import InvalidInputError

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
# Exceptions that DRF does not handle, with status and detail; the first match applies.
KNOWN_EXCEPTIONS: list[tuple[tuple[type[Exception], ...], int, Callable[[Any], str]]] = [
    ((ConflictError, DatasetInUseError, InferenceError, InProgressError), 409, str),
    ((KeyReusedError,), 422, str),
    ((ObjectDoesNotExist,), 404, lambda _: "It was deleted meanwhile."),
    (
        (OperationalError, InterfaceError),
        503,
        lambda _: "The database cannot be reached. Nothing was changed; try again.",
    ),
    ((RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent), 413, str),
    ((MultiPartParserError, SuspiciousOperation), 400, str),
    ((ValidationError, DataError), 400, lambda _: "Invalid value in the request."),
]
RETRY_SECONDS = "2"


def problem_body(status: int, detail: str, **more: Any) -> dict[str, Any]:
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler; None if the exception is a bug, which becomes a 500."""
    response = _known_problem(error) or _rest_framework_problem(error, context)
    if response is not None:
        _render_as_json(context)
    return response


def _known_problem(error: Exception) -> Response | None:
    match error:
        case InvalidInputError():
            return _problem_response(400, "Some fields are invalid.", errors=error.errors)
        case NoSuchTeamError():
            return _problem_response(400, "Some fields are invalid.", errors={"team": [str(error)]})
        case DatasetImportError():
            return _import_problem(error)
    for types, status, detail_of in KNOWN_EXCEPTIONS:
        if isinstance(error, types):
            response = _problem_response(status, detail_of(error) or HTTPStatus(status).description)
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                log.warning("The database is unavailable: %s", error)
            if isinstance(error, (OperationalError, InterfaceError, InProgressError)):
                response["Retry-After"] = RETRY_SECONDS
            return response
    return None


def _rest_framework_problem(error: Exception, context: dict[str, Any]) -> Response | None:
    response = exception_handler(error, context)
    return None if response is None else _as_problem(error, response)


def _import_problem(error: DatasetImportError) -> Response:
    row = {}
    if isinstance(error, InvalidRowError):
        row = {"file": error.file, "line": error.line, "reason": error.reason}
    status = 413 if isinstance(error, ArchiveTooLargeError) else 400
    return _problem_response(status, f"{error}.", **row, errors={"file": [f"{error}."]})


def _as_problem(error: Exception, response: Response) -> Response:
    if isinstance(error, exceptions.ValidationError):
        errors = response.data if isinstance(response.data, dict) else {"": response.data}
        response.data = problem_body(400, "Some fields are invalid.", errors=errors)
    else:
        response.data = problem_body(
            response.status_code, str((response.data or {}).get("detail", ""))
        )
    response.content_type = CONTENT_TYPE
    return response


def _problem_response(status: int, detail: str, **more: Any) -> Response:
    return Response(problem_body(status, detail, **more), status=status, content_type=CONTENT_TYPE)


def _render_as_json(context: Mapping[str, Any]) -> None:
    """An error is JSON even if the view renders YAML, HTML or a stream."""
    request = context.get("request")
    if request is not None:
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type


def problem(status: int, detail: str) -> JsonResponse:
    """A problem of a Django view outside DRF."""
    return JsonResponse(problem_body(status, detail), status=status, content_type=CONTENT_TYPE)


@csrf_exempt  # else a POST to an unknown path is answered with a page about cookies
def unknown_path(request: HttpRequest) -> JsonResponse:
    return problem(404, f"There is no endpoint {request.path}; /api/v1/docs lists all of them.")


def bad_request(request: HttpRequest) -> JsonResponse:
    return problem(
        400, "The request is malformed, or its Host header names a host that is not allowed."
    )


def server_error(request: HttpRequest) -> JsonResponse:
    request_id = request_context.request_id.get()
    return problem(500, f"Internal server error. See the log for request ID {request_id}.")
