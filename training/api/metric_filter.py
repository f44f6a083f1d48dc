"""`?metric.val_loss__lt=0.1`: filter jobs by the newest value of a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from training.api.query_params import Schema
from training.models.expressions import MetricValue
from training.points.limits import refuse_name
from training.typed_numbers import require_plain_digits
from training.validation import InvalidInputError

PREFIX = "metric."
LOOKUPS = {"__lt": "lt", "__gt": "gt", "__lte": "lte", "__gte": "gte"}


class MetricFilter(BaseFilterBackend):
    """Several metrics are combined with AND."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        return filter_by_metrics(queryset, request.query_params.dict())

    def get_schema_operation_parameters(self, view: Any) -> list[Schema]:
        return [
            {
                "name": f"{PREFIX}NAME", "in": "query", "required": False,
                "description": "Only jobs whose newest value of the metric NAME is this number. "
                "`metric.NAME__lt`, `__gt`, `__lte` and `__gte` compare.",
                "schema": {"type": "number"},
            }
        ]  # fmt: skip


def filter_by_metrics(jobs: QuerySet[Any], query: Mapping[str, str]) -> QuerySet[Any]:
    """The jobs that match each `metric.NAME` of the query string; raises InvalidInputError."""
    for position, (parameter, text) in enumerate(query.items()):
        if parameter.startswith(PREFIX):
            name, lookup = name_and_lookup(parameter.removeprefix(PREFIX))
            if reason := refuse_name(name):
                raise InvalidInputError({parameter: [reason]})
            alias = f"metric_{position}"
            jobs = jobs.alias(**{alias: MetricValue("summary", name=name)}).filter(
                **{f"{alias}__{lookup}": _number(parameter, text)}
            )
    return jobs


def name_and_lookup(text: str) -> tuple[str, str]:
    for ending, lookup in LOOKUPS.items():
        if text.endswith(ending):
            return text.removesuffix(ending), lookup
    return text, "exact"


def _number(parameter: str, text: str) -> float:
    try:
        require_plain_digits(text)
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidInputError({parameter: [f"{text[:60]!r} is not a finite number."]})
    return value
