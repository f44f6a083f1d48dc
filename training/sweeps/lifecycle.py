"""Sweep state changes; those of its jobs go through `training.jobs.lifecycle`.

A sweep and its jobs change in one transaction, so a killed process leaves no partial change.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from training.accounts import audit, limits
from training.accounts.permissions import get_team, lost_access
from training.jobs import lifecycle
from training.jobs.projects import project_for_job, team_of_new_row
from training.models import Dataset, Job, Sweep
from training.models.states import ACTIVE, Status
from training.sweeps import trials
from training.sweeps.spec import SweepSpec
from training.webhooks import outbox

State = Sweep.State


class SweepConflictError(lifecycle.ConflictError):
    """The sweep's status does not allow the action."""

    def __init__(self, sweep: Sweep, action: str) -> None:
        Exception.__init__(self, f"Cannot {action} this sweep: it is {sweep.status}.")


class LostAccessError(SweepConflictError):
    """The sweep's owner may no longer use its dataset."""

    def __init__(self, action: str, reason: str) -> None:
        Exception.__init__(self, f"Cannot {action} this sweep: {reason}")


def create(owner: User, dataset: Dataset | None, spec: SweepSpec) -> Sweep:
    lifecycle.require_allowed_priority(spec.policy.priority, owner, "config.priority")
    team = get_team(owner, spec.team)
    with transaction.atomic():
        limits.require(owner, limits.RUNNING_SWEEPS)
        project = project_for_job(owner, spec.project)
        sweep = Sweep.objects.create(
            owner=owner,
            name=spec.name,
            program=spec.program,
            dataset=dataset,
            project=project,
            team=team or team_of_new_row(owner, project),
            config=spec.parameters,
            policy=spec.policy.model_dump(),
            space=spec.space,
            method=spec.method,
            seed=spec.seed,
            max_parallel=spec.max_parallel,
            objective=spec.objective,
            early_stopping=spec.early_stopping.model_dump(),
            total_trials=spec.total,
        )
        audit.record("sweep created", sweep, owner.username, trials=spec.total)
        if sweep.team:
            audit.record("share", sweep, owner.username, team=str(sweep.team))
        outbox.enqueue_sweep_event(sweep, "started", None)
    return sweep


def pause(sweep: Sweep, actor: str) -> Sweep:
    """Start no new trials; queued ones pause at once, running ones after their epoch."""
    with transaction.atomic():
        paused = transition(sweep, Q(status=State.RUNNING), State.PAUSED)
        if paused is None:
            return _return_if_already(sweep, State.PAUSED, "pause")
        audit.record("sweep paused", sweep, actor)
        _request_each(sweep, Q(status__in=ACTIVE), lifecycle.request_pause, actor)
    return paused


def resume(sweep: Sweep, actor: str) -> Sweep:
    if reason := lost_access(sweep.owner, sweep.dataset):
        raise LostAccessError("resume", reason)
    with transaction.atomic():
        limits.lock_owner(sweep.owner_id)
        if Sweep.objects.filter(pk=sweep.pk, status=State.PAUSED).exists():
            limits.require(sweep.owner, limits.RUNNING_SWEEPS)
        running = transition(sweep, Q(status=State.PAUSED), State.RUNNING, notify=False)
        if running is None:
            return _return_if_already(sweep, State.RUNNING, "resume")
        audit.record("sweep resumed", sweep, actor)
        _request_each(sweep, Q(status=Status.PAUSED), lifecycle.resume, actor)
    return running


def cancel(sweep: Sweep, actor: str) -> Sweep:
    with transaction.atomic():
        active = Q(status__in=[State.RUNNING, State.PAUSED])
        cancelled = transition(sweep, active, State.CANCELLED, finished_at=Now())
        if cancelled is None:
            return _return_if_already(sweep, State.CANCELLED, "cancel")
        audit.record("sweep cancelled", sweep, actor)
        unfinished = Q(status__in=[*ACTIVE, Status.PAUSED])
        _request_each(sweep, unfinished, lifecycle.request_cancel, actor)
    return cancelled


def update_metadata(sweep: Sweep, **values: Any) -> Sweep:
    Sweep.objects.filter(pk=sweep.pk).update(**values)
    return Sweep.objects.get(pk=sweep.pk)


def share(sweep: Sweep, team: Group | None) -> Sweep:
    """Share the sweep and its trials with a team, or with no team."""
    with transaction.atomic():
        audit.record("share", sweep, team=str(team or ""))
        Sweep.objects.filter(pk=sweep.pk).update(team=team)
        # A trial that was shared with another team by itself follows the sweep as well.
        for trial in sweep.jobs.exclude(team=team) if team else sweep.jobs.exclude(team=None):
            lifecycle.update_metadata(trial, team=team)
    return Sweep.objects.get(pk=sweep.pk)


def delete(sweep: Sweep, *, with_jobs: bool = False) -> None:
    """A sweep that another process has deleted in the meantime counts as deleted."""
    with transaction.atomic():
        idle = Sweep.objects.select_for_update().exclude(status=State.RUNNING)
        found = idle.filter(pk=sweep.pk).first()
        if found is None:
            if running := Sweep.objects.filter(pk=sweep.pk).first():
                raise SweepConflictError(running, "delete")
            return
        audit.record("delete", found, with_jobs=with_jobs)
        for job in list(found.jobs.all()) if with_jobs else []:
            lifecycle.delete_job(job)
        found.delete()


def transition(
    sweep: Sweep, when: Q, state: State, *, notify: bool = True, **values: Any
) -> Sweep | None:
    """Set the sweep's status if it matches `when`, else return None; nothing else sets it."""
    with transaction.atomic():
        rows = Sweep.objects.filter(when, pk=sweep.pk)
        if not rows.update(status=state, **values):
            return None
        changed = Sweep.objects.get(pk=sweep.pk)
        if notify:
            outbox.enqueue_sweep_event(
                changed, state.value, trials.best_trial(trials.list_trials(changed))
            )
    return changed


def _request_each(sweep: Sweep, which: Q, action: Callable[[Job, str], Job], actor: str) -> None:
    for job in sweep.jobs.filter(which).order_by("trial"):
        # The job may have ended in the meantime.
        with suppress(lifecycle.ConflictError):
            action(job, actor)


def _return_if_already(sweep: Sweep, status: State, action: str) -> Sweep:
    found = Sweep.objects.get(pk=sweep.pk)
    if found.status != status:
        raise SweepConflictError(found, action)
    return found
