"""Query parameters and request bodies, validated; InvalidInputError says what is wrong."""

from __future__ import annotations

from django.contrib.auth.models import User
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from pydantic import JsonValue
from rest_framework.request import Request

from realtime.protocol import Cursor
from training.accounts.permissions import visible_to
from training.models import Dataset
from training.validation import MAX_SHOWN, InvalidInputError, shown_value

# A JSON Schema, or another object of an OpenAPI document.
Schema = dict[str, JsonValue]
MAX_INTEGER = 2**31 - 1  # of an integer column in the database
MAX_BYTES = 2**53 - 1  # exact in JavaScript
AFTER_PARAMETER = OpenApiParameter(
    "after",
    {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
    description="Only events after this sequence number; default 0: all.",
)
TIMESTAMP_PARAMETER = OpenApiParameter(
    "timestamp",
    OpenApiTypes.STR,
    description="The `timestamp` of the event `after`, to detect a restore from a backup.",
)
DRY_RUN_PARAMETER = OpenApiParameter(
    "dry_run", bool, description="Check the request and store nothing."
)
MIN_POINTS, MAX_POINTS, DEFAULT_POINTS = 10, 10_000, 1000
MAX_POINTS_PARAMETER = OpenApiParameter(
    "max_points",
    {"type": "integer", "minimum": MIN_POINTS, "maximum": MAX_POINTS},
    description=f"{MIN_POINTS} to {MAX_POINTS}; default {DEFAULT_POINTS}.",
)
SERIES_PARAMETER = OpenApiParameter(
    "series",
    OpenApiTypes.STR,
    description="Metric names, separated by commas; default: all. Repeat it for names with commas.",
)

REPEATS_PARAMETER = OpenApiParameter(
    "repeats",
    bool,
    description="Return all values of a step: if a series has several, each row is a step at one "
    "time, ordered by step and then time. Of more than 250,000 values the last of each step.",
)


def json_object(request: Request) -> dict[str, JsonValue]:
    if not isinstance(request.data, dict):
        raise InvalidInputError({"": ["The body must be a JSON object."]})
    # A form's values are lists; `items` gives the last of each. JSON passes unchanged.
    return dict(request.data.items())


def refuse_body(request: Request) -> None:
    """Reject fields in a call that takes none: an ignored field would seem to take effect."""
    if fields := json_object(request):
        sentence = "Unknown field; this call takes no fields."
        raise InvalidInputError({str(name)[:MAX_SHOWN]: [sentence] for name in [*fields][:10]})


def boolean(request: Request, name: str) -> bool:
    """False if it is absent; raises InvalidInputError."""
    text = request.query_params.get(name, "").lower()
    if text not in ("", "0", "1", "false", "true"):
        raise InvalidInputError({name: [f"{text[:60]!r} is not a boolean; use 1 or 0."]})
    return text in ("1", "true")


def after(request: Request, maximum: int = MAX_INTEGER) -> int:
    return integer(request, "after", 0, maximum)


def last_event_id(request: Request, maximum: int = MAX_INTEGER) -> int:
    """The header that an EventSource sends when it reconnects, else `after`."""
    header = request.headers.get("Last-Event-ID", "")
    if header.isascii() and header.isdigit():
        # Python converts no more than 4,300 digits.
        return min(int(header), maximum) if len(header) <= len(str(maximum)) else maximum
    return after(request, maximum)


def cursor(request: Request) -> Cursor:
    """The last event that a client of the event stream has."""
    if request.headers.get("Last-Event-ID"):
        # An EventSource that reconnects repeats the parameters of its first request.
        return Cursor(last_event_id(request))
    return Cursor(after(request), request.query_params.get("timestamp", ""))


def integer(
    request: Request, name: str, default: int, maximum: int = MAX_INTEGER, minimum: int = 0
) -> int:
    text = request.query_params.get(name, str(default))
    if (
        not text.isascii()
        or not text.isdigit()
        or len(text) > len(str(MAX_BYTES))
        or not minimum <= int(text) <= maximum
    ):
        sentence = f"{shown_value(text)} is not a whole number from {minimum} to {maximum}."
        raise InvalidInputError({name: [sentence]})
    return int(text)


def max_points(request: Request) -> int:
    return integer(request, "max_points", DEFAULT_POINTS, MAX_POINTS, MIN_POINTS)


def requested_series(request: Request, known: list[str]) -> list[str]:
    """The names in `series`, or all. Before the first epoch, when none is known, all are valid."""
    valid = set(known)
    requested = [
        name
        for text in request.query_params.getlist("series")
        for name in ([text] if text in valid else text.split(","))
        if name
    ]
    unknown = [name for name in requested if valid and name not in valid]
    if unknown:
        raise InvalidInputError(
            {
                "series": [
                    f"Unknown series {name[:100]!r}; choose from {_first(known)}."
                    for name in unknown[:10]
                ]
            }
        )
    return list(dict.fromkeys(requested)) or known


def _first(names: list[str], count: int = 30) -> str:
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def usable_dataset(user: User, pk: str) -> Dataset:
    """A ready dataset that this user may train on; else InvalidInputError says why not."""
    dataset = visible_to(Dataset.objects.all(), user).filter(pk=pk).first()
    if dataset is None:
        raise InvalidInputError(
            {"dataset_id": [f"Dataset {pk} does not exist, or you cannot use it."]}
        )
    if dataset.status != Dataset.State.READY:
        raise InvalidInputError(
            {"dataset_id": [f"Dataset {dataset.name!r} is not ready: {dataset.status}."]}
        )
    return dataset
