"""What Trackio's client sends. The fields of later versions are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, isfinite, isnan
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, FailFast, Field, JsonValue

from heimdall_sdk.text import clean_name, clean_text
from training.validation import MAX_DEPTH, MAX_INTEGER

MAX_NAME = 200
# The client keeps logs in an outage and repeats them until they are accepted; only the size of the
# body limits them. It does not repeat the others.
MAX_ENTRIES = 100_000


def _clean(value: object) -> object:
    # Cleaned again, because the remaining characters may be invisible.
    return clean_name(clean_name(value)[:MAX_NAME]) if isinstance(value, str) else value


Item = TypeVar("Item")
# Collecting the errors of all items would take many times the memory of the body.
Entries = Annotated[list[Item], FailFast()]
ShownName = Annotated[str, BeforeValidator(_clean)]
# The client continues counting from a fractional step of a user, so later steps have it too.
Step = Annotated[
    int | None, BeforeValidator(lambda step: floor(step) if isinstance(step, float) else step)
]


def storable(value: object, depth: int = 0) -> Any:
    """JSON with unstorable values replaced; if rejected, the client would resend it forever."""
    match value:
        case str():
            return clean_text(value)
        case int() if abs(value) > MAX_INTEGER:
            return float(value)
        case float() if not isfinite(value):
            return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict() if depth < MAX_DEPTH:
            return {clean_text(name): storable(one, depth + 1) for name, one in value.items()}
        case list() if depth < MAX_DEPTH:
            return [storable(one, depth + 1) for one in value]
        case dict() | list():
            return None
    return value


class RunReference(BaseModel):
    """Old clients send no ID; then the names of project and run identify it."""

    project: ShownName
    run: ShownName
    run_id: str | None = Field(None, max_length=MAX_NAME)


class LogEntry(RunReference):
    """One call of `trackio.log`. Entries that the client has buffered have a `timestamp`."""

    metrics: dict[str, JsonValue]
    step: Step = None
    config: dict[str, JsonValue] | None = None
    log_id: str | None = None
    timestamp: str | None = None


class SystemEntry(RunReference):
    """Resource metrics of the machine."""

    metrics: dict[str, JsonValue] = {}


class AlertEntry(RunReference):
    """One call of `trackio.alert`."""

    title: ShownName
    text: str | None = None
    level: str = "warn"
    step: Step = None
    alert_id: str | None = None


class UploadEntry(BaseModel):
    """A file that was uploaded before; one of a project has no run."""

    project: ShownName
    run: ShownName | None = None
    run_id: str | None = Field(None, max_length=MAX_NAME)


class BulkLog(BaseModel):
    logs: Entries[LogEntry]


class BulkLogSystem(BaseModel):
    logs: Entries[SystemEntry]


class BulkAlert(BaseModel):
    alerts: Annotated[Entries[AlertEntry], Field(max_length=MAX_ENTRIES)]


class BulkUpload(BaseModel):
    uploads: Annotated[Entries[UploadEntry], Field(max_length=MAX_ENTRIES)]


class ProjectName(BaseModel):
    project: ShownName


class RunSummaryQuery(ProjectName):
    run: ShownName | None = None
    run_id: str | None = None


class RunRecord(BaseModel):
    """A run of a project; the client continues one whose name it is given."""

    id: str
    name: str
    created_at: str


class RunSummary(BaseModel):
    """`last_step` is where the client continues."""

    project: str
    run: str | None
    run_id: str | None
    num_logs: int = 0
    metrics: list[str] = []
    config: Mapping[str, JsonValue] | None = None
    last_step: int | None = None
