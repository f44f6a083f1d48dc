"""Errors of the API as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypedDict, Unpack

from django.core.exceptions import (
    BadRequest,
    ObjectDoesNotExist,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
    ValidationError,
)
from django.db import DatabaseError, DataError, IntegrityError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler

from training import request_context
from training.accounts import limits
from training.accounts.idempotency import InProgressError, KeyReusedError
from training.accounts.permissions import NoSuchTeamError
from training.datasets.service import ArchiveTooLargeError, DatasetInUseError
from training.inference.client import InferenceError
from training.jobs.lifecycle import ConflictError
from training.jobs.reports import LogTooLongError
from training.models.scopes import MissingScopeError
from training.outages import Outage, describe_outage, exceeds_limit
from training.programs.datasets import DatasetImportError, InvalidRowError
from training.references import DELETED, is_deleted_reference
from training.validation import MAX_SHOWN, InvalidInputError
from training.webhooks.outbox import AttemptInProgressError

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
# Exceptions that DRF does not handle, with status and detail; the first match applies.
KNOWN_EXCEPTIONS: list[tuple[tuple[type[Exception], ...], int, Callable[[Any], str]]] = [
    (
        (
            AttemptInProgressError,
            ConflictError,
            DatasetInUseError,
            InferenceError,
            InProgressError,
        ),
        409,
        str,
    ),
    ((MissingScopeError,), 403, str),
    ((LogTooLongError,), 413, str),
    ((KeyReusedError,), 422, str),
    ((ObjectDoesNotExist,), 404, lambda _: "The object was deleted in the meantime."),
    ((RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent), 413, str),
    ((MultiPartParserError, SuspiciousOperation), 400, str),
    ((ValidationError, DataError), 400, lambda _: "Invalid value in the request."),
]
RETRY_SECONDS = "2"
TOO_LARGE = "A value or the query of the request is too large for the database."
TOO_COMPLEX = "The request has too many conditions; use fewer."
# SQLite's messages for queries beyond its limits.
_TOO_COMPLEX = (
    "Expression tree is too large",
    "too many SQL variables",
    "parser stack overflow",
    "LIKE or GLOB pattern too complex",
)


class ProblemExtensions(TypedDict, total=False):
    """`errors` maps each invalid field to sentences; `file`, `line` and `reason` locate a row.

    `limit` names a limit per user, of which `used` are in use and `maximum` are allowed.
    """

    errors: Mapping[str, object]
    file: str
    line: int
    reason: str
    limit: str
    used: int
    maximum: int


class Problem(ProblemExtensions):
    type: str
    title: str
    status: int
    detail: str


def problem_body(status: int, detail: str, **more: Unpack[ProblemExtensions]) -> Problem:
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler; None if the exception is a bug, which becomes a 500."""
    response = _known_problem(error) or _as_problem(
        _explained(error, context.get("view"), context.get("request")),
        exception_handler(error, context),
    )
    if response is not None:
        _render_as_json(context.get("request"))
    return response


def _known_problem(error: Exception) -> Response | None:
    match error:
        case InvalidInputError():
            return _problem_response(400, "Some fields are invalid.", errors=error.errors)
        case NoSuchTeamError():
            return _problem_response(400, "Some fields are invalid.", errors={"team": [str(error)]})
        case limits.LimitReachedError():
            return _limit_problem(error)
        case DatasetImportError():
            return _import_problem(error)
        case OperationalError() if is_query_invalid(error):
            return _problem_response(400, TOO_LARGE if exceeds_limit(error) else TOO_COMPLEX)
        case IntegrityError() if is_deleted_reference(error):
            return _problem_response(409, DELETED)
        case OSError() | DatabaseError() if outage := describe_outage(error):
            return _outage_problem(outage, error)
    return _listed_problem(error)


def _listed_problem(error: Exception) -> Response | None:
    for types, status, detail_of in KNOWN_EXCEPTIONS:
        if isinstance(error, types):
            response = _problem_response(status, detail_of(error) or HTTPStatus(status).description)
            if isinstance(error, InProgressError):
                response["Retry-After"] = RETRY_SECONDS
            return response
    return None


def is_query_invalid(error: DatabaseError) -> bool:
    """Whether the database cannot store or compare a value, or nest the conditions."""
    if isinstance(error, DataError) or exceeds_limit(error):
        return True
    return isinstance(error, OperationalError) and str(error).startswith(_TOO_COMPLEX)


def _outage_problem(outage: Outage, error: Exception) -> Response:
    log.warning("%s: %s", outage.title, error)
    response = _problem_response(outage.status, outage.text)
    if outage.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = RETRY_SECONDS
    return response


def _limit_problem(error: limits.LimitReachedError) -> Response:
    """429 if it frees up by itself soon, so that clients try again; else 409."""
    response = _problem_response(
        429 if error.limit.at_once else 409,
        str(error),
        limit=error.limit.name,
        used=error.used,
        maximum=error.maximum,
    )
    if error.limit.at_once:
        response["Retry-After"] = RETRY_SECONDS
    return response


def _import_problem(error: DatasetImportError) -> Response:
    more: ProblemExtensions = {"errors": {"file": [f"{error}."]}}
    if isinstance(error, InvalidRowError):
        more = {"file": error.file, "line": error.line, "reason": error.reason, **more}
    status = 413 if isinstance(error, ArchiveTooLargeError) else 400
    return _problem_response(status, f"{error}.", **more)


def _explained(error: Exception, view: Any, request: Request | None) -> Exception:
    """The exception of DRF or Django, with a sentence that names the value and the fix."""
    match error:
        case Http404() if what := _object_name(view):
            pk = str(view.kwargs.get("pk", ""))[:MAX_SHOWN]
            return exceptions.NotFound(f"{what} {pk} does not exist, or you cannot view it.")
        case exceptions.MethodNotAllowed() if view is not None:
            allowed = [name for name in view.allowed_methods if name not in ("HEAD", "OPTIONS")]
            method = request.method if request is not None else "This method"
            return exceptions.APIException(f"{method} is not allowed here; use {_or(allowed)}.")
        case exceptions.UnsupportedMediaType() if view is not None:
            accepted = [parser.media_type for parser in view.parser_classes]
            refused = str(error.detail).rstrip(".")
            return exceptions.APIException(f"{refused}; send {_or(accepted)}.")
        case exceptions.NotAuthenticated():
            return exceptions.APIException(
                "Authentication credentials were not provided; send the header "
                "`Authorization: Bearer` with an API token, or sign in."
            )
    return error


def _object_name(view: Any) -> str:
    """The kind of object in a view's URL, as the first word of a sentence."""
    model = getattr(getattr(view, "queryset", None), "model", None)
    return getattr(view, "object_name", model.__name__ if model else "")


def _or(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _as_problem(error: Exception, response: Response | None) -> Response | None:
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        errors = response.data if isinstance(response.data, dict) else {"": response.data}
        response.data = problem_body(400, "Some fields are invalid.", errors=errors)
    elif isinstance(error, exceptions.APIException):
        response.data = problem_body(response.status_code, str(error.detail))
    else:
        response.data = problem_body(
            response.status_code, str((response.data or {}).get("detail", ""))
        )
    response.content_type = CONTENT_TYPE
    return response


def _problem_response(status: int, detail: str, **more: Unpack[ProblemExtensions]) -> Response:
    return Response(problem_body(status, detail, **more), status=status, content_type=CONTENT_TYPE)


def _render_as_json(request: Request | None) -> None:
    """An error is JSON even if the view renders YAML, HTML or a stream."""
    if request is not None:
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type


def problem(status: int, detail: str) -> JsonResponse:
    """A problem of a Django view outside DRF."""
    return JsonResponse(problem_body(status, detail), status=status, content_type=CONTENT_TYPE)


@csrf_exempt  # otherwise a POST to an unknown path would get Django's CSRF page
def unknown_path(request: HttpRequest) -> JsonResponse:
    return problem(
        404, f"The endpoint {request.path} does not exist; {reverse('docs')} lists all endpoints."
    )


def bad_request(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    if isinstance(exception, BadRequest):
        return problem(400, str(exception))
    return problem(
        400, "The request is malformed, or its Host header names a host that is not allowed."
    )


def server_error(request: HttpRequest) -> JsonResponse:
    if outage := describe_outage(sys.exc_info()[1]):
        return problem(outage.status, outage.text)
    request_id = request_context.request_id.get()
    return problem(500, f"Internal server error. See the log for request ID {request_id}.")
