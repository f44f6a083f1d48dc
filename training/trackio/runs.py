"""Trackio's runs are reported jobs; each belongs to the user whose token the client sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from pydantic import JsonValue

from heimdall_sdk.text import clean_name
from training.api.moments import EARLIEST
from training.jobs import projects, reports
from training.jobs.config_limits import MAX_CONFIG_BYTES, MAX_CONFIG_NAMES, config_problem
from training.models import Job, PointIndex, TrackioEntry, TrackioRun
from training.points import store
from training.trackio.messages import (
    ProjectName,
    RunRecord,
    RunReference,
    RunSummary,
    RunSummaryQuery,
)

# Keys that the client adds to the configuration.
CREATED, GROUP = "_Created", "_Group"
MAX_TAG = 50
CONFIG_CUT = (
    f"A configuration has at most {MAX_CONFIG_NAMES:,} names and {MAX_CONFIG_BYTES:,} bytes."
)


def list_runs(user: User, query: ProjectName) -> list[RunRecord]:
    rows = _runs(user, query.project).values_list("run_id", "job__name", "job__created_at")
    return [
        RunRecord(id=run_id, name=name, created_at=created_at.isoformat())
        for run_id, name, created_at in rows
    ]


def summarize_run(user: User, query: RunSummaryQuery) -> RunSummary:
    rows = _runs(user, query.project).select_related("job")
    if query.run_id is not None:
        row = rows.filter(run_id=query.run_id).first()
    else:
        row = rows.filter(job__name=query.run or "").first()
    if row is None:
        return RunSummary(project=query.project, run=query.run, run_id=query.run_id)
    index = PointIndex.objects.filter(pk=row.job_id).first()
    return RunSummary(
        project=query.project,
        run=row.job.name,
        run_id=row.run_id,
        num_logs=TrackioEntry.objects.filter(job=row.job_id).count(),
        metrics=store.series_names(row.job_id),
        config=row.job.config,
        last_step=store.newest_step(index) if index and index.newest else None,
    )


def find_or_create_run(
    user: User, reference: RunReference, config: Mapping[str, JsonValue] | None = None
) -> TrackioRun:
    """The run, its job locked for the rest of the caller's transaction."""
    run_id = reference.run_id or f"{reference.project}/{reference.run}"
    rows = TrackioRun.objects.filter(owner=user, run_id=run_id)
    row = rows.first()
    if row is None:
        try:
            with transaction.atomic():
                job = _create_job(user, reference, config or {})
                row = TrackioRun.objects.create(job=job, owner=user, run_id=run_id)
        except IntegrityError:  # another request has just created it
            row = rows.get()
    row.job = Job.objects.select_for_update().get(pk=row.job_id)
    return row


def new_config(
    job: Job, config: Mapping[str, JsonValue] | None
) -> tuple[dict[str, Any], Sequence[str]]:
    """The change of the job by the configuration of an entry, and why some of it is not stored."""
    new = _of_user(config or {})
    merged = _within_limits(job.config, new)
    changes = {"config": merged} if merged != job.config else {}
    is_whole = all(name in merged and merged[name] == value for name, value in new.items())
    return changes, [] if is_whole else [CONFIG_CUT]


def _within_limits(
    config: Mapping[str, JsonValue], new: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """The configuration with as many of the new values as it has room for."""
    merged = {**config, **new}
    if config_problem(merged) is None:
        return merged
    kept = dict(config)
    size = len(orjson.dumps(kept))
    for name, value in new.items():
        added = len(orjson.dumps({name: value}))
        removed = len(orjson.dumps({name: kept[name]})) if name in kept else 1
        has_room = size + added - removed <= MAX_CONFIG_BYTES
        if has_room and (name in kept or len(kept) < MAX_CONFIG_NAMES):
            kept[name] = value
            size += added - removed
    return kept


def _runs(user: User, project: str) -> QuerySet[TrackioRun]:
    """The newest first."""
    jobs = projects.jobs_in_project(Job.objects.filter(owner=user), project)
    return TrackioRun.objects.filter(owner=user, job__in=jobs).order_by("-job__created_at")


def _create_job(user: User, reference: RunReference, config: Mapping[str, JsonValue]) -> Job:
    project = projects.project_for_job(user, reference.project)
    report = reports.NewReport(
        name=reference.run,
        config=_within_limits({}, _of_user(config)),
        tags=_tags(config.get(GROUP)),
    )
    started_at = _timestamp(config.get(CREATED))
    team = projects.team_of_new_row(user, project)
    return reports.register(user, report, project, team, started_at)


def _of_user(config: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Names with an underscore are the client's own."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _tags(group: JsonValue) -> Sequence[str]:
    tag = clean_name(f"group: {group}") if isinstance(group, str) and group else ""
    return [tag] if 0 < len(tag) <= MAX_TAG else []


def _timestamp(text: JsonValue) -> datetime | None:
    """A timestamp in ISO 8601 from 1970 to now; else None."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    is_past = found and found.tzinfo and EARLIEST <= found < timezone.now()
    return found if is_past else None
