"""Query parameters that filter lists."""

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
class HasItem(Lookup):
    """`tags__has_item="x"`: the JSON array contains this string."""

    lookup_name = "has_item"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        lhs, params = self.process_lhs(compiler, connection)
        sql = f"EXISTS (SELECT 1 FROM json_each({lhs}) WHERE value = %s)"  # noqa: S608
        return sql, (*params, self.rhs)

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
    """Rejects an empty value, which django-filter ignores: the list would not be filtered."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        filterset_class = self.get_filterset_class(view, queryset)
        for name, field_filter in filterset_class.base_filters.items():
            is_text = isinstance(field_filter, filters.CharFilter)
            if request.query_params.get(name) == "" and not is_text:
                raise InvalidInputError(
                    {name: ["Must not be empty; omit it to disable the filter."]}
                )
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


class TagFilterBackend(BaseFilterBackend):
    """`tag=a&tag=b`: rows that have both tags."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        for tag in request.query_params.getlist("tag"):
            if "\0" in tag:
                raise InvalidInputError({"tag": ["A tag cannot contain null characters."]})
            queryset = queryset.filter(tags__has_item=tag)
        return queryset

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        schema = {"type": "array", "items": {"type": "string"}}
        description = "Only rows with this tag; repeat it to require several tags."
        return [{"name": "tag", "in": "query", "schema": schema, "description": description}]
