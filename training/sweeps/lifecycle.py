"""What people ask of a sweep; what it asks of its trainings goes through `lifecycle`.

A sweep and its trainings change in one transaction, so that a process that dies in between leaves
nothing half done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from training.jobs import lifecycle
from training.models import Dataset, Job, Sweep
from training.models.states import ACTIVE, Status
from training.sweeps import trials
from training.sweeps.spec import SweepSpec
from training.webhooks import outbox

State = Sweep.State


class SweepConflictError(lifecycle.ConflictError):
    """The sweep's state forbids what was asked."""

    def __init__(self, sweep: Sweep, wish: str) -> None:
        Exception.__init__(self, f"Cannot {wish} this sweep: it is {sweep.status}.")


def create(owner: User, dataset: Dataset, plan: SweepSpec) -> Sweep:
    """A sweep that runs; `advance.advance` starts its first trials."""
    with transaction.atomic():
        sweep = Sweep.objects.create(
            owner=owner,
            name=plan.name,
            dataset=dataset,
            config=plan.config,
            space=plan.space,
            method=plan.method,
            seed=plan.seed,
            max_parallel=plan.max_parallel,
            objective=plan.objective,
            early_stopping=plan.early_stopping.model_dump(),
            total_trials=plan.total,
        )
        outbox.enqueue_sweep_event(sweep, "started", None)
    return sweep


def pause(sweep: Sweep, actor: str) -> Sweep:
    """Start nothing new; what runs pauses after its epoch, what waits at once."""
    with transaction.atomic():
        paused = transition(sweep, Q(status=State.RUNNING), State.PAUSED)
        if paused is None:
            return _return_if_already(sweep, State.PAUSED, "pause")
        _request_each(sweep, Q(status__in=ACTIVE), lifecycle.request_pause, actor)
    return paused


def resume(sweep: Sweep, actor: str) -> Sweep:
    """Go on, with what was paused too."""
    with transaction.atomic():
        running = transition(sweep, Q(status=State.PAUSED), State.RUNNING, tell=False)
        if running is None:
            return _return_if_already(sweep, State.RUNNING, "resume")
        _request_each(sweep, Q(status=Status.PAUSED), lifecycle.resume, actor)
    return running


def cancel(sweep: Sweep, actor: str) -> Sweep:
    """For good, with every training that is not done."""
    with transaction.atomic():
        alive = Q(status__in=[State.RUNNING, State.PAUSED])
        cancelled = transition(sweep, alive, State.CANCELLED, finished_at=Now())
        if cancelled is None:
            return _return_if_already(sweep, State.CANCELLED, "cancel")
        not_done = Q(status__in=[*ACTIVE, Status.PAUSED])
        _request_each(sweep, not_done, lifecycle.request_cancel, actor)
    return cancelled


def update_metadata(sweep: Sweep, **values: Any) -> Sweep:
    Sweep.objects.filter(pk=sweep.pk).update(**values)
    return Sweep.objects.get(pk=sweep.pk)


def delete(sweep: Sweep, *, with_jobs: bool = False) -> None:
    """Forget a sweep that does not run; its trainings stay, or go too where they are at rest."""
    with transaction.atomic():
        idle = Sweep.objects.select_for_update().exclude(status=State.RUNNING)
        found = idle.filter(pk=sweep.pk).first()
        if found is None:
            raise SweepConflictError(Sweep.objects.get(pk=sweep.pk), "delete")
        for job in list(found.jobs.all()) if with_jobs else []:
            lifecycle.delete_job(job)
        found.delete()


def transition(
    sweep: Sweep, when: Q, state: State, *, tell: bool = True, **values: Any
) -> Sweep | None:
    """The one place that changes a sweep's state; None if it is not as `when` says."""
    with transaction.atomic():
        rows = Sweep.objects.filter(when, pk=sweep.pk)
        if not rows.update(status=state, **values):
            return None
        changed = Sweep.objects.get(pk=sweep.pk)
        if tell:
            outbox.enqueue_sweep_event(
                changed, state.value, trials.best_trial(trials.list_trials(changed))
            )
    return changed


def _request_each(sweep: Sweep, which: Q, wish: Callable[[Job, str], Job], actor: str) -> None:
    for job in sweep.jobs.filter(which).order_by("trial"):
        # It may have ended a moment ago; then nothing is to be asked of it.
        with suppress(lifecycle.ConflictError):
            wish(job, actor)


def _return_if_already(sweep: Sweep, fine: State, wish: str) -> Sweep:
    found = Sweep.objects.get(pk=sweep.pk)
    if found.status != fine:
        raise SweepConflictError(found, wish)
    return found
