"""Operations of the API, and the view that answers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

from django.contrib.auth.models import User
from django.http import HttpResponse, QueryDict
from pydantic import BaseModel, ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from training.api.authentication import TokenAuthentication
from training.api.report_bodies import ReportParser
from training.api.throttling import ReportThrottle
from training.mlflow.errors import MlflowError, handle_mlflow_exception, invalid
from training.models.scopes import Scope

Body = TypeVar("Body", bound=BaseModel)
# One sentence for each of the first invalid fields.
MAX_SENTENCES = 5


class Empty(BaseModel):
    """A message without fields."""


EMPTY = Empty()


@dataclass(frozen=True, slots=True)
class Operation:
    """`answer` gets the user and the request, an instance of `request`."""

    method: str
    path: str  # as in Django's `path`
    scope: Scope
    request: type[BaseModel]
    answer: Callable[[User, Any], BaseModel]


def get(path: str, request: type[Body], answer: Callable[[User, Body], BaseModel]) -> Operation:
    return Operation("GET", path, "read", request, answer)


def find(path: str, request: type[Body], answer: Callable[[User, Body], BaseModel]) -> Operation:
    """A search, which is a POST request."""
    return Operation("POST", path, "read", request, answer)


def write(
    path: str,
    request: type[Body],
    answer: Callable[[User, Body], BaseModel],
    method: str = "POST",
    scope: Scope = "report",
) -> Operation:
    return Operation(method, path, scope, request, answer)


class MlflowAPIView(APIView):
    """Authenticated by a token, as bearer or as password; errors are MLflow's."""

    authentication_classes = (TokenAuthentication,)
    throttle_classes = (ReportThrottle,)
    parser_classes = (ReportParser,)
    schema = None  # described by MLflow

    def get_exception_handler(self) -> Any:
        return handle_mlflow_exception

    @property
    def _user(self) -> User:
        return cast(User, self.request.user)


class OperationView(MlflowAPIView):
    """The operations of one path, by method."""

    operations: ClassVar[Mapping[str, Operation]] = {}

    @property
    def scope(self) -> Scope | None:
        operation = self.operations.get(str(self.request.method))
        return operation.scope if operation else None

    def _answer(self, request: Request, **path: str) -> HttpResponse:
        operation = self.operations[str(request.method)]
        is_query = request.method in ("GET", "DELETE") and not request.data
        found = _query(request.query_params) if is_query else request.data
        if not isinstance(found, dict):
            raise invalid("The body must be a JSON object.")
        answered = operation.answer(self._user, parse(operation.request, {**found, **path}))
        content = answered.model_dump_json(exclude_none=True)
        return HttpResponse(content, content_type="application/json")

    get = post = patch = delete = put = _answer


class UnknownOperationView(MlflowAPIView):
    """Paths of MLflow's API that Heimdall does not have."""

    def initial(self, request: Request, *args: Any, **path: str) -> None:
        raise MlflowError(
            "ENDPOINT_NOT_FOUND", f"Heimdall has no endpoint {request.method} {request.path}."
        )


def parse(model: type[Body], found: Mapping[str, Any]) -> Body:
    """The request from its JSON, where null is a missing field; raises MlflowError."""
    try:
        return model.model_validate({key: one for key, one in found.items() if one is not None})
    except ValidationError as error:
        sentences = [
            f"Invalid value for parameter '{'.'.join(map(str, one['loc']))}': {one['msg']}."
            for one in error.errors(include_url=False)[:MAX_SENTENCES]
        ]
        raise invalid(" ".join(sentences)) from error


def _query(parameters: QueryDict) -> dict[str, object]:
    return {
        name: values if len(values) > 1 else values[0]
        for name, values in parameters.lists()
        if values
    }
