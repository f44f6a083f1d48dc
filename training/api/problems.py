"""Every error of the API as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from training.access import NoSuchTeam
from training.configs import BadConfig
from training.datasets import DatasetInUse, TooLarge
from training.engine.importer import BadRow, ImportProblem
from training.lifecycle import Conflict
from training.predictor import Refused

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


def body(status: int, detail: str, **more: Any) -> dict[str, Any]:
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler; None for what is a bug, which becomes a 500."""
    match error:
        case BadConfig():
            return _answer(400, "Some fields are wrong.", errors=error.errors)
        case NoSuchTeam():
            return _answer(400, "Some fields are wrong.", errors={"team": [str(error)]})
        case ImportProblem():
            return _import_refused(error)
        case Conflict() | DatasetInUse() | Refused():
            return _answer(409, str(error))
        case ObjectDoesNotExist():
            return _answer(404, "It was there a moment ago, and is gone.")
        case OperationalError() | InterfaceError():
            log.warning("The database is away: %s", error)
            away = _answer(503, "The database cannot be reached. Nothing was changed; try again.")
            away["Retry-After"] = "2"
            return away
    response = exception_handler(error, context)
    return None if response is None else _as_problem(error, response)


def _import_refused(error: ImportProblem) -> Response:
    row = {}
    if isinstance(error, BadRow):
        row = {"file": error.file, "line": error.line, "reason": error.reason}
    status = 413 if isinstance(error, TooLarge) else 400
    return _answer(status, f"{error}.", **row, errors={"file": [f"{error}."]})


def _as_problem(error: Exception, response: Response) -> Response:
    if isinstance(error, exceptions.ValidationError):
        errors = response.data if isinstance(response.data, dict) else {"": response.data}
        response.data = body(400, "Some fields are wrong.", errors=errors)
    elif isinstance(error, (Http404, PermissionDenied)) or "detail" in (response.data or {}):
        response.data = body(response.status_code, str((response.data or {})["detail"]))
    response.content_type = CONTENT_TYPE
    return response


def _answer(status: int, detail: str, **more: Any) -> Response:
    return Response(body(status, detail, **more), status=status, content_type=CONTENT_TYPE)


@csrf_exempt  # or else a POST to nowhere is answered with a page about cookies
def unknown_path(request: HttpRequest) -> JsonResponse:
    """Whatever lies under /api/ and is nothing."""
    detail = f"There is nothing at {request.path}; /api/v1/docs shows what there is."
    return JsonResponse(body(404, detail), status=404, content_type=CONTENT_TYPE)


def server_error(request: HttpRequest) -> JsonResponse:
    detail = "Heimdall met a fault of its own; its log says which."
    return JsonResponse(body(500, detail), status=500, content_type=CONTENT_TYPE)
