"""What a list of jobs can be narrowed to."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import JSONField, Lookup, QuerySet
from django_filters import rest_framework as filters
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from training.models import Job
from training.models.states import Status
from training.validation import InvalidInputError


@JSONField.register_lookup
class Holds(Lookup):
    """`tags__holds="x"`: the JSON list has this text among its items."""

    lookup_name = "holds"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        lhs, params = self.process_lhs(compiler, connection)
        found = f"EXISTS (SELECT 1 FROM json_each({lhs}) WHERE value = %s)"  # noqa: S608
        return found, (*params, self.rhs)

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        lhs, params = self.process_lhs(compiler, connection)
        return f"{lhs} @> %s::jsonb", (*params, json.dumps([self.rhs]))


class JobFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=Status.choices)
    kind = filters.ChoiceFilter(choices=Job.Kind.choices)
    dataset_id = filters.UUIDFilter(field_name="dataset_id")
    sweep_id = filters.UUIDFilter(field_name="sweep_id")
    owner = filters.CharFilter(field_name="owner__username")


class StrictFilterBackend(filters.DjangoFilterBackend):
    """The view's filter set; an empty value is told, since it would narrow nothing unseen."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        kind = self.get_filterset_class(view, queryset)
        for name, one in kind.base_filters.items():
            is_word = isinstance(one, filters.CharFilter)
            if request.query_params.get(name) == "" and not is_word:
                raise InvalidInputError({name: ["It is empty; leave it out, or say which."]})
        found: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return found


class TagFilterBackend(BaseFilterBackend):
    """`tag=a&tag=b`: those that have both."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        for tag in request.query_params.getlist("tag"):
            if "\0" in tag:
                raise InvalidInputError({"tag": ["A tag holds no null characters."]})
            queryset = queryset.filter(tags__holds=tag)
        return queryset

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        words = {"type": "array", "items": {"type": "string"}}
        said = "Has this tag; named more than once: all of them."
        return [{"name": "tag", "in": "query", "schema": words, "description": said}]
