"""What stands in an address or a body, checked: a sentence for what makes no sense."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django_filters import rest_framework as filters
from rest_framework.request import Request

from training.access import visible
from training.configs import BadConfig
from training.models import Dataset, Job
from training.states import Status

FEWEST_POINTS, MOST_POINTS = 10, 10_000


class JobFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=Status.choices)
    kind = filters.ChoiceFilter(choices=Job.Kind.choices)
    dataset_id = filters.UUIDFilter(field_name="dataset_id")
    owner = filters.CharFilter(field_name="owner__username")


def json_object(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise BadConfig({"": ["The body is one JSON object."]})
    # A form's values arrive as lists; JSON is what is documented, and passes unchanged.
    return dict(request.data.items())


def after(request: Request) -> int:
    return whole(request, "after", 0)


def last_seen(request: Request) -> int:
    """A browser that comes back says where it was; else what the address says."""
    said = request.headers.get("Last-Event-ID", "")
    return int(said) if said.isascii() and said.isdigit() else after(request)


def whole(request: Request, name: str, default: int) -> int:
    sent = request.query_params.get(name, str(default))
    if not sent.isascii() or not sent.isdigit():
        raise BadConfig({name: [f"{sent!r} is not a whole number of at least 0."]})
    return int(sent)


def points(request: Request) -> int:
    """How many points of a chart are asked for."""
    limit = whole(request, "max_points", 1000)
    if not FEWEST_POINTS <= limit <= MOST_POINTS:
        raise BadConfig(
            {"max_points": [f"{limit} is not between {FEWEST_POINTS} and {MOST_POINTS}."]}
        )
    return limit


def named_series(request: Request, known: list[str]) -> list[str]:
    """The series asked for; all where none is named. Before the first epoch nothing is known."""
    asked = [name for name in request.query_params.get("series", "").split(",") if name]
    unknown = [name for name in asked if known and name not in known]
    if unknown:
        raise BadConfig(
            {"series": [f"There is no {name!r}; there is {', '.join(known)}." for name in unknown]}
        )
    return list(dict.fromkeys(asked)) or known


def usable_dataset(user: User, pk: str) -> Dataset:
    """A dataset this user may train on; BadConfig says why not."""
    dataset = visible(Dataset.objects.all(), user).filter(pk=pk).first()
    if dataset is None:
        raise BadConfig({"dataset_id": [f"There is no dataset {pk} that you may use."]})
    if dataset.status != Dataset.State.READY:
        raise BadConfig(
            {"dataset_id": [f"Dataset {dataset.name!r} is not ready: {dataset.status}."]}
        )
    return dataset
