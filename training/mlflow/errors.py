"""Errors in the form of MLflow: `error_code` and `message`."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Literal

from django.http import HttpRequest, JsonResponse
from rest_framework.response import Response

from training.api import errors as api_errors
from training.api.errors import handle_exception

ErrorCode = Literal[
    "BAD_REQUEST",
    "ENDPOINT_NOT_FOUND",
    "INTERNAL_ERROR",
    "INVALID_PARAMETER_VALUE",
    "NOT_IMPLEMENTED",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_CONFLICT",
    "RESOURCE_DOES_NOT_EXIST",
    "REQUEST_LIMIT_EXCEEDED",
    "TEMPORARILY_UNAVAILABLE",
    "UNAUTHENTICATED",
]
# Those without an entry are answered with 400.
STATUS: dict[ErrorCode, HTTPStatus] = {
    "ENDPOINT_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "INTERNAL_ERROR": HTTPStatus.INTERNAL_SERVER_ERROR,
    "NOT_IMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "RESOURCE_CONFLICT": HTTPStatus.CONFLICT,
    "RESOURCE_DOES_NOT_EXIST": HTTPStatus.NOT_FOUND,
}
CODES: dict[int, ErrorCode] = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "ENDPOINT_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
    507: "INTERNAL_ERROR",
}


class MlflowError(Exception):
    """What a client receives as an `MlflowException`."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message: str) -> MlflowError:
    return MlflowError("INVALID_PARAMETER_VALUE", message)


def not_found(message: str) -> MlflowError:
    return MlflowError("RESOURCE_DOES_NOT_EXIST", message)


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    """A request that Django refuses before a view is called."""
    return _as_mlflow(api_errors.bad_request(request, exception))


def server_error(request: HttpRequest) -> JsonResponse:
    return _as_mlflow(api_errors.server_error(request))


def _as_mlflow(problem: JsonResponse) -> JsonResponse:
    status = problem.status_code
    message = json.loads(problem.content)["detail"]
    body = {"error_code": CODES.get(status, "INTERNAL_ERROR"), "message": message}
    return JsonResponse(body, status=status)


def handle_mlflow_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler; None if the exception is a bug, which becomes a 500."""
    if isinstance(error, MlflowError):
        status = STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
        return _response(status, error.code, error.message)
    problem = handle_exception(error, context)
    if problem is None:
        return None
    found = problem.data or {}
    sentences = [
        f"{field}: {' '.join(map(str, texts))}"
        for field, texts in (found.get("errors") or {}).items()
    ]
    message = " ".join([str(found.get("detail", "")), *sentences])
    response = _response(
        problem.status_code, CODES.get(problem.status_code, "BAD_REQUEST"), message
    )
    for name in ("Retry-After", "WWW-Authenticate"):
        if name in problem:
            response[name] = problem[name]
    return response


def _response(status: int, code: ErrorCode, message: str) -> Response:
    return Response(
        {"error_code": code, "message": message}, status=status, content_type="application/json"
    )
