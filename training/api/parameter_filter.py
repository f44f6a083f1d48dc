"""`?param.learning_rate=0.001`: filter jobs by a hyperparameter of their configuration.

The value of a parameter that a program declares has its type. Reported runs have parameters that
no program declares, and those of MLflow are texts: there, the text is compared.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import reduce
from typing import Any, cast

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Coalesce
from django.db.models.lookups import In, IsNull
from pydantic import BaseModel, ConfigDict, create_model
from pydantic.json_schema import models_json_schema
from rest_framework.filters import BaseFilterBackend
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.views import APIView

from heimdall_sdk.text import TextError, check_characters
from training.api.query_params import Schema
from training.models.comparisons import JsonText
from training.models.expressions import MAX_INDEXED_BYTES, Parameter
from training.programs.registry import list_programs
from training.typed_numbers import NumberFormatError, require_plain_digits
from training.validation import InvalidInputError, sentence, validate

PREFIX = "param."


class ParameterFilter(BaseFilterBackend):
    """Several parameters are combined with AND."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        # A queryset of its own costs a query, so it is made only where it is needed.
        visible = cast("GenericAPIView[Any]", view).get_queryset
        return filter_by_parameters(queryset, request.query_params.dict(), visible)

    def get_schema_operation_parameters(self, view: Any) -> list[Schema]:
        described: dict[str, str] = {}
        for program in list_programs():
            for name, info in program.parameters.model_fields.items():
                described.setdefault(name, (info.title or name).lower())
        return [
            {"name": PREFIX + name, "in": "query", "required": False,
             "description": f"Only jobs with this {title}.",
             "schema": _schema(_models(name))}
            for name, title in described.items()
        ]  # fmt: skip


def filter_by_parameters(
    jobs: QuerySet[Any], query: Mapping[str, str], visible: Callable[[], QuerySet[Any]]
) -> QuerySet[Any]:
    """The jobs that match each `param.NAME` of the query string; raises InvalidInputError.

    A name is known if a program declares it or one of the jobs of `visible` has it.
    """
    for key, text in query.items():
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            if not _models(name):
                jobs = _filter_by_text(jobs, name, text, visible)
                continue
            values = _values(name, text)
            if text not in values:
                values.append(text)
            jobs = jobs.alias(
                **{f"param_{name}": Parameter(name, "config")},
                **{f"whole_{name}": KeyTransform(name, "config")},
            ).filter(reduce(operator.or_, (_equals(name, value) for value in values)))
    return jobs


def _filter_by_text(
    jobs: QuerySet[Any], name: str, text: str, visible: Callable[[], QuerySet[Any]]
) -> QuerySet[Any]:
    try:
        check_characters(name + text)
    except TextError as error:
        raise InvalidInputError({PREFIX + name: [sentence(error)]}) from error
    value = Coalesce(*(JsonText(field, name=name) for field in ("config_texts", "config")))
    if not visible().filter(IsNull(value, False)).exists():
        _values(name, text)  # raises an error that suggests a name
    return jobs.filter(In(value, _texts(text)))


def _texts(text: str) -> list[str]:
    """The text, and what it is as a value of Python, as `config_texts` has it: True, None, 0.1."""
    texts = [text]
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if found is None or isinstance(found, bool | int | float):
            texts += [str(found)]
    with suppress(ValueError):
        number = float(text)
        texts += [str(number), *([str(int(number))] if number.is_integer() else [])]
    return list(dict.fromkeys(texts))


def _equals(name: str, value: object) -> Q:
    # The expression of the index extracts 1 and 0 for true and false on SQLite, which
    # Django's comparison with a boolean does not expect, and on PostgreSQL no long texts.
    is_long = isinstance(value, str) and len(value.encode()) > MAX_INDEXED_BYTES
    prefix = "whole_" if isinstance(value, bool) or is_long else "param_"
    return Q(**{f"{prefix}{name}": value})


def _values(name: str, text: str) -> list[Any]:
    """The text as a value of each type that a program declares for the parameter."""
    models = _models(name) or [_every_parameter()]  # which refuses the name
    values: list[Any] = []
    problems: list[InvalidInputError] = []
    for model in models:
        try:
            value = getattr(validate(model, {name: text}, strict=False), name)
            if isinstance(value, int | float):
                require_plain_digits(text)
        except InvalidInputError as error:
            problems.append(error)
        except NumberFormatError as error:
            problems.append(InvalidInputError({name: [str(error)]}))
        else:
            if not any(type(value) is type(other) and value == other for other in values):
                values.append(value)
    if not values:
        raise InvalidInputError(
            {PREFIX + field: sentences for field, sentences in problems[0].errors.items()}
        )
    return values


def _models(name: str) -> list[type[BaseModel]]:
    """A model with this parameter alone for each program that declares it."""
    annotations: list[Any] = []
    for program in list_programs():
        info = program.parameters.model_fields.get(name)
        if info and info.annotation not in annotations:
            annotations.append(info.annotation)
    return [_model({name: annotation}) for annotation in annotations]


def _every_parameter() -> type[BaseModel]:
    return _model(
        {
            name: info.annotation
            for program in list_programs()
            for name, info in program.parameters.model_fields.items()
        }
    )


def _model(annotations: Mapping[str, Any]) -> type[BaseModel]:
    # Types without bounds: a job of an earlier version may lie outside today's bounds.
    config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
    fields: dict[str, Any] = {name: (kind, None) for name, kind in annotations.items()}
    return create_model("RequestedParameters", __config__=config, **fields)


def _schema(models: list[type[BaseModel]]) -> Schema:
    """What the query parameter accepts: the JSON Schema of any of the types."""
    shapes: list[Schema] = []
    for model in models:
        definitions = models_json_schema([(model, "validation")])[1]["$defs"]
        (field,) = definitions["RequestedParameters"]["properties"].values()
        shape = {key: field[key] for key in ("type", "enum", "anyOf") if key in field}
        if shape not in shapes:
            shapes.append(shape)
    return shapes[0] if len(shapes) == 1 else {"anyOf": [*shapes]}
