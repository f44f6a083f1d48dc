"""Query parameters that filter lists."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend, SearchFilter
from rest_framework.request import Request
from rest_framework.views import APIView

from training.api.query_params import Schema
from training.jobs.projects import jobs_in_project
from training.jobs.search import contains, ids_from, with_tag
from training.models import Job
from training.models.states import Status
from training.validation import InvalidInputError, shown_value

MAX_SEARCH_TERMS = 12


class JobFilter(filters.FilterSet):
    id = filters.CharFilter(method="filter_id", label="How the ID begins.")
    status = filters.MultipleChoiceFilter(choices=Status.choices)
    kind = filters.ChoiceFilter(choices=Job.Kind.choices)
    dataset_id = filters.UUIDFilter(field_name="dataset_id")
    sweep_id = filters.UUIDFilter(field_name="sweep_id")
    owner = filters.CharFilter(field_name="owner__username")
    program = filters.CharFilter(field_name="program")
    project = filters.CharFilter(
        method="filter_project", label="ID or name of a project. Default: jobs without one."
    )

    def filter_id(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        try:
            return rows.filter(pk__range=ids_from(value))
        except ValueError as error:
            raise InvalidInputError({name: [str(error)]}) from None

    def filter_project(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        return jobs_in_project(rows, value)


class BoundedSearchFilter(SearchFilter):
    """`search`: each term, separated by white space, is a condition of the query."""

    def get_search_terms(self, request: Request) -> list[str]:
        terms = list(super().get_search_terms(request))
        if len(terms) > MAX_SEARCH_TERMS:
            message = f"Too many search terms ({len(terms):,}); at most {MAX_SEARCH_TERMS} allowed."
            raise InvalidInputError({self.search_param: [message]})
        return terms


class JobSearchFilter(BoundedSearchFilter):
    """Reads indexes instead of all jobs."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        for term in self.get_search_terms(request):
            queryset = contains(queryset, term)
        return queryset


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
        try:
            filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        except ValidationError as error:
            raise InvalidInputError(
                {
                    name: [_reason(field_filter, request, name)]
                    for name, field_filter in filterset_class.base_filters.items()
                    if name in error.detail
                }
            ) from error
        return filtered


def _reason(field_filter: filters.Filter, request: Request, name: str) -> str:
    """What is wrong with the value: django-filter's sentences name neither it nor the choices."""
    values = request.query_params.getlist(name)
    choices = [value for value, _ in field_filter.extra.get("choices", ())]
    wrong = next((value for value in values if value not in choices), "")
    if choices:
        return f"{shown_value(wrong)} is not one of {', '.join(choices)}."
    if isinstance(field_filter, filters.UUIDFilter):
        return f"{shown_value(values[-1])} is not a UUID."
    return f"{shown_value(values[-1])} is not valid."


class TagFilterBackend(BaseFilterBackend):
    """`tag=a&tag=b`: rows that have both tags."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        for tag in request.query_params.getlist("tag"):
            queryset = with_tag(queryset, tag)
        return queryset

    def get_schema_operation_parameters(self, view: APIView) -> list[Schema]:
        schema: Schema = {"type": "array", "items": {"type": "string"}}
        description = "Only rows with this tag; repeat it to require several tags."
        return [{"name": "tag", "in": "query", "schema": schema, "description": description}]
