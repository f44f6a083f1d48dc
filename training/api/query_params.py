"""Query parameters and request bodies, validated; InvalidInputError says what is wrong."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from training.accounts.permissions import visible_to
from training.models import Dataset
from training.validation import InvalidInputError

MAX_INTEGER = 2**31 - 1  # of an integer column in the database
AFTER_PARAMETER = OpenApiParameter(
    "after",
    {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
    description="Only events after this sequence number; default 0: all.",
)


def json_object(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise InvalidInputError({"": ["The body must be a JSON object."]})
    # A form's values are lists; `items` gives the last of each. JSON passes unchanged.
    return dict(request.data.items())


def after(request: Request) -> int:
    return integer(request, "after", 0)


def last_event_id(request: Request) -> int:
    """The header that an EventSource sends when it reconnects, else `after`."""
    header = request.headers.get("Last-Event-ID", "")
    if header.isascii() and header.isdigit():
        return min(int(header), MAX_INTEGER)
    return after(request)


def integer(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if (
        not text.isascii()
        or not text.isdigit()
        or len(text) > len(str(MAX_INTEGER))
        or int(text) > MAX_INTEGER
    ):
        raise InvalidInputError(
            {name: [f"{text!r} is not a whole number from 0 to {MAX_INTEGER}."]}
        )
    return int(text)


def requested_series(request: Request, known: list[str]) -> list[str]:
    """The names in `series`, or all. Before the first epoch, when none is known, all are valid."""
    requested = [name for name in request.query_params.get("series", "").split(",") if name]
    unknown = [name for name in requested if known and name not in known]
    if unknown:
        raise InvalidInputError(
            {
                "series": [
                    f"There is no {name!r}; choose from {', '.join(known)}." for name in unknown
                ]
            }
        )
    return list(dict.fromkeys(requested)) or known


def usable_dataset(user: User, pk: str) -> Dataset:
    """A ready dataset that this user may train on; else InvalidInputError says why not."""
    dataset = visible_to(Dataset.objects.all(), user).filter(pk=pk).first()
    if dataset is None:
        raise InvalidInputError({"dataset_id": [f"There is no dataset {pk} that you may use."]})
    if dataset.status != Dataset.State.READY:
        raise InvalidInputError(
            {"dataset_id": [f"Dataset {dataset.name!r} is not ready: {dataset.status}."]}
        )
    return dataset
