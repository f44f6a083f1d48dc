"""`?param.learning_rate=0.001`: jobs by a hyper-parameter, checked as the parameter itself is."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from pydantic import ConfigDict, create_model
from pydantic.json_schema import models_json_schema
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from training.models.expressions import Parameter
from training.programs.registry import get_program
from training.validation import InvalidInputError, validate

PREFIX = "param."
# The types alone: a job of an earlier version may lie beyond the bounds of today.
_fields: dict[str, Any] = {
    name: (info.annotation, None) for name, info in get_program().parameters.model_fields.items()
}
RequestedParameters = create_model(
    "Wanted", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **_fields
)


class ParameterFilter(BaseFilterBackend):
    """Several parameters all have to match."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        sent = {
            name.removeprefix(PREFIX): value
            for name, value in request.query_params.items()
            if name.startswith(PREFIX)
        }
        if not sent:
            return queryset
        try:
            wanted = validate(RequestedParameters, sent, strict=False).model_dump(
                exclude_unset=True
            )
        except InvalidInputError as bad:
            raise InvalidInputError(
                {PREFIX + name: said for name, said in bad.errors.items()}
            ) from None
        for name, value in wanted.items():
            named = queryset.alias(**{f"param_{name}": Parameter(name, "config")})
            queryset = named.filter(**{f"param_{name}": value})
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        schema = models_json_schema([(RequestedParameters, "validation")])[1]["$defs"]["Wanted"][
            "properties"
        ]
        return [
            {"name": PREFIX + name, "in": "query", "required": False,
             "description": f"Only jobs of this {info.title or name}.".lower().capitalize(),
             "schema": {key: value for key, value in schema[name].items()
                        if key in ("type", "enum", "anyOf")}}
            for name, info in get_program().parameters.model_fields.items()
        ]  # fmt: skip
