"""What stands in an address or a body, checked: a sentence for what makes no sense."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from training.access import visible
from training.configs import BadConfig
from training.models import Dataset

MOST = 2**31 - 1  # that a column of the database holds
AFTER = OpenApiParameter(
    "after",
    {"type": "integer", "minimum": 0, "maximum": MOST},
    description="The newest seq that one has; default 0: all.",
)


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
    return min(int(said), MOST) if said.isascii() and said.isdigit() else after(request)


def whole(request: Request, name: str, default: int) -> int:
    sent = request.query_params.get(name, str(default))
    if not sent.isascii() or not sent.isdigit() or len(sent) > len(str(MOST)) or int(sent) > MOST:
        raise BadConfig({name: [f"{sent!r} is not a whole number from 0 to {MOST}."]})
    return int(sent)


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
