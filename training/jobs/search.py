"""Finds jobs by text and by tags, with conditions that each use an index.

A condition with OR over columns of several tables would read all jobs. So each kind of match is a
query of its own that reads an index, and the list is filtered by the IDs if they are few.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from training.models import Dataset, Job
from training.models.expressions import NotEmpty

# Up to so many matches are fetched, so that counting and reading the page search once.
MAX_FETCHED = 500
_HEX_DIGITS = re.compile("[0-9a-f]{1,32}")


def with_tag(jobs: QuerySet[Job], tag: str) -> QuerySet[Job]:
    return _narrow(jobs, [Q(tags__has_item=tag)])


def ids_from(text: str) -> tuple[UUID, UUID]:
    """The lowest and the highest ID that begin so; ValueError if none does.

    A range uses the index in every database.
    """
    digits = text.replace("-", "").lower()
    if not _HEX_DIGITS.fullmatch(digits):
        raise ValueError(f"{text[:40]!r} is not the beginning of an ID.")
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def search(jobs: QuerySet[Job], text: str) -> QuerySet[Job]:
    """The jobs whose name or dataset's name contains the text, or whose owner, tag or ID it is."""
    return _narrow(jobs, _matches(text))


def search_for_staff(jobs: QuerySet[Job], text: str) -> QuerySet[Job]:
    """Like `search`, but also by error message, worker and the beginning of the ID."""
    in_error = Q(error_message__icontains=text) & Q(NotEmpty("error_message"))
    matches = [*_matches(text), in_error, Q(worker=text)]
    with suppress(ValueError):
        matches.append(Q(pk__range=ids_from(text)))
    return _narrow(jobs, matches)


def contains(jobs: QuerySet[Job], term: str) -> QuerySet[Job]:
    """The jobs whose name or notes contain the term."""
    in_notes = Q(notes__icontains=term) & Q(NotEmpty("notes"))
    return _narrow(jobs, [Q(name__icontains=term), in_notes])


def _matches(text: str) -> list[Q]:
    matches = [
        Q(name__icontains=text),
        Q(dataset__in=Dataset.objects.order_by().filter(name__icontains=text)),
        Q(owner__in=User.objects.filter(username__iexact=text)),
        Q(tags__has_item=text),
    ]
    with suppress(ValueError):
        matches.append(Q(pk=UUID(text)))
    return matches


def _narrow(jobs: QuerySet[Job], conditions: Sequence[Q]) -> QuerySet[Job]:
    """The jobs that meet any of the conditions.

    Of many matches a page is full soon, so they need not be collected first.
    """
    every = Job.objects.order_by().values_list("pk")
    first, *others = (every.filter(condition) for condition in conditions)
    fetched = [pk for (pk,) in first.union(*others, all=True)[: MAX_FETCHED + 1]]
    if len(fetched) <= MAX_FETCHED:
        return jobs.filter(pk__in=fetched)
    return jobs.filter(reduce(operator.or_, conditions))
