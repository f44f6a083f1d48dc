"""What the list of jobs shows: filters, order and columns, all in its query string."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import QueryDict

from training.api.metric_filter import PREFIX as METRIC
from training.api.metric_filter import filter_by_metrics, name_and_lookup
from training.api.ordering import JOB_SORT_KEYS
from training.api.parameter_filter import PREFIX as PARAMETER
from training.api.parameter_filter import filter_by_parameters
from training.jobs.projects import jobs_in_project
from training.jobs.search import search, with_tag
from training.models import Job
from training.models.states import Status
from training.programs.registry import list_programs
from training.typed_numbers import NumberFormatError, normalize_number
from training.validation import InvalidInputError

NEWEST_FIRST = "-created_at"
MAX_COLUMNS = 8
# Shown as chips that remove them; the status and the search have their own places.
FILTERS = ("project", "program", "owner", "tag", "sweep")
KNOWN = (*FILTERS, "status", "search", "trials", "ordering", "columns")
COMPARISONS = {"": "is", "__lt": "less than", "__gt": "greater than",
               "__lte": "at most", "__gte": "at least"}  # fmt: skip
_SIGNS = {"exact": "=", "lt": "<", "gt": ">", "lte": "≤", "gte": "≥"}


@dataclass(frozen=True, slots=True)
class ActiveFilter:
    label: str
    without: str  # the URL of the list without it


class JobQuery:
    """The query string, without what is unknown or empty. `cursor` is not part of it."""

    def __init__(self, sent: QueryDict) -> None:
        self._values = {
            name: values
            for name, given in sent.lists()
            if name in KNOWN or name.startswith((PARAMETER, METRIC))
            if (values := [text for one in given if (text := one.strip())])
        }

    def __getitem__(self, name: str) -> str:
        if name not in KNOWN:  # a template looks for a key before an attribute
            raise KeyError(name)
        return self._values.get(name, [""])[-1]

    @property
    def ordering(self) -> str:
        return self["ordering"] or NEWEST_FIRST

    @property
    def folded(self) -> bool:
        """Whether a sweep is one row. Trials are listed one by one where they are ranked."""
        by_time = self.ordering.removeprefix("-") == "created_at"
        return by_time and self["trials"] != "all" and not self["sweep"]

    @property
    def chosen_columns(self) -> list[str]:
        return list(dict.fromkeys(self._values.get("columns", ())))[:MAX_COLUMNS]

    @property
    def conditions(self) -> dict[str, str]:
        """The filters by parameters and metrics."""
        return {
            name: values[-1]
            for name, values in self._values.items()
            if name.startswith((PARAMETER, METRIC))
        }

    @property
    def is_filtered(self) -> bool:
        return bool(self.conditions) or any(self[name] for name in (*FILTERS, "status", "search"))

    @property
    def finds_few(self) -> bool:
        """Whether a filter is set that usually matches few jobs."""
        return bool(self["search"] or self["tag"])

    def url(self, **changes: str | Sequence[str]) -> str:
        return self._url({**self._values, **changes})

    def _url(self, values: Mapping[str, str | Sequence[str]]) -> str:
        query = QueryDict(mutable=True)
        for name, value in values.items():
            query.setlist(name, [value] if isinstance(value, str) else [*value])
            if query.getlist(name) == [""]:
                del query[name]
        return f"?{query.urlencode()}"

    def hidden(self, *replaced: str) -> list[tuple[str, str]]:
        """Hidden inputs that keep the query parameters for which a form has no field."""
        return [
            (name, value)
            for name, values in self._values.items()
            if name not in replaced
            for value in values
        ]

    def with_condition(self, name: str, comparison: str, value: str) -> str:
        """The URL with one more filter; raises InvalidInputError. Without a name, as it is."""
        name, value = name.strip(), value.strip()
        if not name and not value:
            return self.url()
        if not name:
            raise InvalidInputError({"where": ["Name the parameter or metric to compare."]})
        if not value:
            raise InvalidInputError({"value": [f"Enter the value that {name} is compared with."]})
        if not name.startswith((PARAMETER, METRIC)):
            programs = list_programs()
            is_metric = comparison or any(name in one.metrics for one in programs)
            is_parameter = any(name in one.parameters.model_fields for one in programs)
            # Numbers that a run measures are rarely compared for equality.
            name = (METRIC if is_metric and not is_parameter else PARAMETER) + name
        if name.startswith(PARAMETER) and comparison:
            raise InvalidInputError(
                {"is": [f"{name} is a parameter; parameters are compared with “is” only."]}
            )
        try:
            value = normalize_number(value)
        except NumberFormatError as error:
            raise InvalidInputError({"value": [str(error)]}) from error
        known = comparison if comparison in COMPARISONS else ""
        return self.url(**{f"{name}{known}": value})

    def filter(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """The jobs that match everything but the status; raises InvalidInputError."""
        visible = jobs
        if self["search"]:
            jobs = search(jobs, self["search"])
        if self["project"]:
            jobs = jobs_in_project(jobs, self["project"])
        if self["program"]:
            jobs = jobs.filter(program=self["program"])
        if self["owner"]:
            jobs = jobs.filter(owner__username=self["owner"])
        if self["sweep"]:
            jobs = jobs.filter(sweep_id=self._sweep())
        for tag in self._values.get("tag", ()):
            jobs = with_tag(jobs, tag)
        jobs = filter_by_parameters(jobs, self.conditions, lambda: visible)
        return filter_by_metrics(jobs, self.conditions)

    def filter_status(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        status = self["status"]
        if status and status not in Status.values:
            known = ", ".join(Status.values)
            raise InvalidInputError({"status": [f"{status!r} is not one of {known}."]})
        return jobs.filter(status=status) if status else jobs

    def fold(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """Keep only the first matching trial of each sweep, which represents the sweep."""
        if not self.folded:
            return jobs
        earlier = jobs.filter(sweep=OuterRef("sweep"), trial__lt=OuterRef("trial"))
        return jobs.filter(Q(sweep=None) | ~Exists(earlier))

    def rank(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """Exclude jobs without a value, if the order puts them first."""
        key = JOB_SORT_KEYS.get(self.ordering.removeprefix("-"))
        if key is None or key.missing is None or not self.ordering.startswith("-"):
            return jobs
        if self.ordering == NEWEST_FIRST:
            return jobs
        return jobs.alias(rank=key.expression).filter(rank__lt=key.missing)

    def active_filters(self, names: Mapping[str, str]) -> list[ActiveFilter]:
        """`names` has the names of what is filtered by an ID."""
        active = []
        for filtered in FILTERS:
            for value in self._values.get(filtered, ()):
                rest = [other for other in self._values[filtered] if other != value]
                label = f"{filtered.capitalize()}: {names.get(value, value)}"
                active.append(ActiveFilter(label, self.url(**{filtered: rest or ""})))
        for name, value in self.conditions.items():
            sign = "="
            shown = name.removeprefix(PARAMETER)
            if name.startswith(METRIC):
                shown, lookup = name_and_lookup(name.removeprefix(METRIC))
                sign = _SIGNS[lookup]
            active.append(ActiveFilter(f"{shown} {sign} {value}", self.url(**{name: ""})))
        return active

    def _sweep(self) -> uuid.UUID:
        try:
            return uuid.UUID(self["sweep"])
        except ValueError:
            raise InvalidInputError(
                {"sweep": [f"{self['sweep'][:60]!r} is not the ID of a sweep."]}
            ) from None
