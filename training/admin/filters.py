"""Filters of lists with titles of their own; Django's titles are the names of the fields."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.admin.filters import (
    ChoicesFieldListFilter,
    DateFieldListFilter,
    FieldListFilter,
)


class _TitledFilter(FieldListFilter):
    heading: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = self.heading


class CreationTimeFilter(_TitledFilter, DateFieldListFilter):
    heading = "creation time"


class TimeFilter(_TitledFilter, DateFieldListFilter):
    heading = "time"


class RequestedActionFilter(_TitledFilter, ChoicesFieldListFilter):
    heading = "requested action"
