"""`?param.learning_rate=0.001`: filter jobs by a hyperparameter of their configuration."""

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
# Types without bounds: a job of an earlier version may lie outside today's bounds.
_fields: dict[str, Any] = {
    name: (info.annotation, None) for name, info in get_program().parameters.model_fields.items()
}
RequestedParameters = create_model(
    "RequestedParameters", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **_fields
)


class ParameterFilter(BaseFilterBackend):
    """Several parameters are combined with AND."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        values = {
            name.removeprefix(PREFIX): value
            for name, value in request.query_params.items()
            if name.startswith(PREFIX)
        }
        if not values:
            return queryset
        try:
            requested = validate(RequestedParameters, values, strict=False).model_dump(
                exclude_unset=True
            )
        except InvalidInputError as error:
            raise InvalidInputError(
                {PREFIX + name: sentences for name, sentences in error.errors.items()}
            ) from None
        for name, value in requested.items():
            alias = f"param_{name}"
            queryset = queryset.alias(**{alias: Parameter(name, "config")}).filter(**{alias: value})
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        schema = models_json_schema([(RequestedParameters, "validation")])[1]["$defs"][
            "RequestedParameters"
        ]["properties"]
        return [
            {"name": PREFIX + name, "in": "query", "required": False,
             "description": f"Only jobs with this {(info.title or name).lower()}.",
             "schema": {key: value for key, value in schema[name].items()
                        if key in ("type", "enum", "anyOf")}}
            for name, info in get_program().parameters.model_fields.items()
        ]  # fmt: skip
