"""Records what Trackio's client sends, each entry once.

The client repeats a request that fails until it succeeds, so an entry that cannot be stored is
noted on the job's page instead of refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar, cast
from uuid import NAMESPACE_OID, UUID, uuid5

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from pydantic import JsonValue

from heimdall_sdk.messages import Value
from heimdall_sdk.text import clean_notes
from training.jobs import reports
from training.jobs.lifecycle import change, status_event
from training.models import JobEvent, PointIndex, TrackioEntry, TrackioRun
from training.points import store
from training.points.limits import NOT_FINITE, refuse_name
from training.points.rows import InvalidPointError, PointReader, Row
from training.trackio.messages import (
    AlertEntry,
    BulkAlert,
    BulkLog,
    BulkLogSystem,
    BulkUpload,
    LogEntry,
    RunReference,
)
from training.trackio.runs import find_or_create_run, new_config

MAX_NOTED = 10
MAX_ALERT = 2000
MAX_ALERTS = 300  # of a job in an hour
ALERT = "Alert ("
# Entries per transaction; on SQLite, a transaction blocks other writes.
MAX_TOGETHER = 5000
# Of one query.
CHUNK = 500
Entry = TypeVar("Entry", bound=RunReference)


def record_logs(user: User, body: BulkLog) -> None:
    for entries in _by_run(body.logs):
        config = next((one.config for one in entries if one.config), None)
        for start in range(0, len(entries), MAX_TOGETHER):
            _record_logs_of_run(user, entries[start : start + MAX_TOGETHER], config)


def _record_logs_of_run(
    user: User, entries: Sequence[LogEntry], config: Mapping[str, JsonValue] | None
) -> None:
    with transaction.atomic():
        run = find_or_create_run(user, entries[0], config)
        new = _not_recorded(run, entries, lambda one: one.log_id)
        rows, reasons = _as_points(run, new)
        changes, cut = new_config(run.job, config)
        rejected = reports.record_points(run.job, rows, user.username, **changes)
        _note(run, user, [*cut, *reasons, *(one.reason for one in rejected)])


def record_system(user: User, body: BulkLogSystem) -> None:
    """Resource metrics have no step and are not stored. They serve as heartbeats."""
    for entries in _by_run(body.logs):
        with transaction.atomic():
            run = find_or_create_run(user, entries[0])
            reports.record_points(run.job, {}, user.username)


def record_alerts(user: User, body: BulkAlert) -> None:
    """Alerts are notes in the history of the job."""
    for entries in _by_run(body.alerts):
        for start in range(0, len(entries), MAX_TOGETHER):
            if not _record_alerts_of_run(user, entries[start : start + MAX_TOGETHER]):
                break


def _record_alerts_of_run(user: User, entries: Sequence[AlertEntry]) -> bool:
    """Whether there was room for all; an event of a job is also sent to browsers and webhooks."""
    with transaction.atomic():
        run = find_or_create_run(user, entries[0])
        reports.record_points(run.job, {}, user.username)
        room = max(0, MAX_ALERTS - _recent_alerts(run))
        new = _not_recorded(run, entries, lambda one: one.alert_id)
        builders = [status_event(user.username, "note", _alert_text(one)) for one in new[:room]]
        change(run.job_id, Q(), *builders)
        if len(new) > room:
            _note(run, user, [f"A job has at most {MAX_ALERTS} alerts an hour."])
        return len(new) <= room


def _recent_alerts(run: TrackioRun) -> int:
    notes = JobEvent.objects.filter(job=run.job_id, at__gte=timezone.now() - timedelta(hours=1))
    alerts = notes.filter(data__cause="note", data__reason__startswith=ALERT)
    return alerts[:MAX_ALERTS].count()


def note_uploads(user: User, body: BulkUpload) -> None:
    """Note that files are not stored. If rejected, the client would retry for 30 s at the end."""
    found = {
        (one.project, one.run, one.run_id): RunReference(
            project=one.project, run=one.run, run_id=one.run_id
        )
        for one in body.uploads
        if one.run
    }
    for reference in found.values():
        with transaction.atomic():
            run = find_or_create_run(user, reference)
            reports.record_points(run.job, {}, user.username)
            _note(run, user, ["Files and media are not supported."])


def _by_run(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    found: dict[tuple[str, str, str | None], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.project, entry.run, entry.run_id), []).append(entry)
    return found.values()


def _not_recorded(
    run: TrackioRun, entries: Sequence[Entry], id_of: Callable[[Entry], str | None]
) -> list[Entry]:
    """The entries that are new to the run; they are marked as recorded."""
    found = {_as_uuid(text): entry for entry in entries if (text := id_of(entry))}
    ids = list(found)
    rows = TrackioEntry.objects.filter(job=run.job_id)
    known: set[UUID] = set()
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        known.update(rows.filter(entry__in=chunk).values_list("entry", flat=True))
    TrackioEntry.objects.bulk_create(
        (TrackioEntry(job_id=run.job_id, entry=one) for one in ids if one not in known),
        batch_size=CHUNK,
    )
    new = {id(entry) for key, entry in found.items() if key not in known}
    return [entry for entry in entries if not id_of(entry) or id(entry) in new]


def _as_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return uuid5(NAMESPACE_OID, text)


def _as_points(run: TrackioRun, entries: Sequence[LogEntry]) -> tuple[dict[int, Row], list[str]]:
    """The points of the entries, and the reasons why some values are not stored."""
    reader, rows, reasons = PointReader(), {}, []
    now = timezone.now().timestamp()
    index = PointIndex.objects.filter(pk=run.job_id).first()
    newest = store.newest_step(index) if index and index.newest else -1
    for position, entry in enumerate(entries):
        step = newest + 1 if entry.step is None else entry.step
        values, refused = _numbers(entry.metrics)
        reasons += refused
        if not values:
            continue
        row = Row(step, _time(entry.timestamp, now), None, values)
        try:
            reader.check(row)
        except InvalidPointError as error:
            reasons.append(str(error))
            continue
        newest = max(newest, step)
        rows[position] = row
    return rows, reasons


def _numbers(metrics: Mapping[str, JsonValue]) -> tuple[dict[str, Value], list[str]]:
    """The metrics that are numbers, and why the others are not stored."""
    values: dict[str, Value] = {}
    reasons: list[str] = []
    for name, value in metrics.items():
        if not isinstance(value, int | float) and value not in NOT_FINITE:
            reasons.append(f"{name[:60]!r} is not a number.")
        elif reason := refuse_name(name):
            reasons.append(reason)
        else:
            values[name] = float(value) if isinstance(value, int | float) else cast(Value, value)
    return values, reasons


def _time(text: str | None, now: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp() if text else now
    except ValueError:
        return now


def _note(run: TrackioRun, user: User, reasons: Iterable[str]) -> None:
    """Add each reason to the timeline of the job, once."""
    reasons = list(dict.fromkeys(reasons))
    if not reasons:
        return
    # The row was read before its job was locked.
    run.refresh_from_db(fields=["noted"])
    new = [reason for reason in reasons if reason not in run.noted]
    new = new[: MAX_NOTED - len(run.noted)]
    if not new:
        return
    run.noted = [*run.noted, *new]
    run.save(update_fields=["noted"])
    builders = [status_event(user.username, "note", f"Not stored: {one}") for one in new]
    change(run.job_id, Q(), *builders)


def _alert_text(entry: AlertEntry) -> str:
    at = "" if entry.step is None else f" at step {entry.step}"
    text = f": {clean_notes(entry.text)}" if entry.text else ""
    return f"{ALERT}{clean_notes(entry.level)[:20]}){at}: {entry.title}{text}"[:MAX_ALERT]
