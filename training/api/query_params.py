"""What stands in an address or a body, checked: a sentence for what makes no sense."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from training.accounts.permissions import visible_to
from training.models import Dataset
from training.validation import InvalidInputError

MAX_INTEGER = 2**31 - 1  # that a column of the database holds
AFTER_PARAMETER = OpenApiParameter(
    "after",
    {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
    description="The newest seq that one has; default 0: all.",
)


def json_object(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise InvalidInputError({"": ["The body is one JSON object."]})
    # A form's values arrive as lists; JSON is what is documented, and passes unchanged.
    return dict(request.data.items())


def after(request: Request) -> int:
    return integer(request, "after", 0)


def last_event_id(request: Request) -> int:
    """A browser that comes back says where it was; else what the address says."""
    said = request.headers.get("Last-Event-ID", "")
    return min(int(said), MAX_INTEGER) if said.isascii() and said.isdigit() else after(request)


def integer(request: Request, name: str, default: int) -> int:
    sent = request.query_params.get(name, str(default))
    if (
        not sent.isascii()
        or not sent.isdigit()
        or len(sent) > len(str(MAX_INTEGER))
        or int(sent) > MAX_INTEGER
    ):
        raise InvalidInputError(
            {name: [f"{sent!r} is not a whole number from 0 to {MAX_INTEGER}."]}
        )
    return int(sent)


def requested_series(request: Request, known: list[str]) -> list[str]:
    """The series asked for; all where none is named. Before the first epoch nothing is known."""
    asked = [name for name in request.query_params.get("series", "").split(",") if name]
    unknown = [name for name in asked if known and name not in known]
    if unknown:
        raise InvalidInputError(
            {"series": [f"There is no {name!r}; there is {', '.join(known)}." for name in unknown]}
        )
    return list(dict.fromkeys(asked)) or known


def usable_dataset(user: User, pk: str) -> Dataset:
    """A dataset this user may train on; BadConfig says why not."""
    dataset = visible_to(Dataset.objects.all(), user).filter(pk=pk).first()
    if dataset is None:
        raise InvalidInputError({"dataset_id": [f"There is no dataset {pk} that you may use."]})
    if dataset.status != Dataset.State.READY:
        raise InvalidInputError(
            {"dataset_id": [f"Dataset {dataset.name!r} is not ready: {dataset.status}."]}
        )
    return dataset
