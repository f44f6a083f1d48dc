"""Advance running sweeps: prune poor trials, start the next ones, finish completed sweeps.

All state is read from the database and each step is a compare-and-set, so any number of processes
may run this at the same time, and may be killed at any point.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from uuid import UUID

from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.db.models import Count, F, Q
from django.db.models.functions import Now

from training.jobs import lifecycle
from training.jobs.policy import QueuePolicy
from training.models import Job, Sweep
from training.models.states import ACTIVE, Status, Stop
from training.sweeps import lifecycle as sweep_lifecycle
from training.sweeps import pruners, trials
from training.sweeps.search_space import suggest, with_point
from training.validation import InvalidInputError

State = Sweep.State
# A sweep whose first trials all failed is failed early: the remaining trials would fail too.
MAX_INITIAL_FAILURES = 5

log = logging.getLogger(__name__)
_logged_failures: set[UUID] = set()  # sweeps whose current failure has been logged


def run_once() -> None:
    """Advance every running sweep; a failing sweep does not block the others."""
    for pk in Sweep.objects.filter(status=State.RUNNING).values_list("pk", flat=True):
        try:
            advance_sweep(pk)
        except DatabaseError:
            raise
        except Exception:
            if pk not in _logged_failures:
                log.exception("Advancing sweep %s failed; retrying.", pk)
            _logged_failures.add(pk)
        else:
            _logged_failures.discard(pk)


def advance_sweep(sweep_id: UUID) -> None:
    sweep = Sweep.objects.filter(pk=sweep_id, status=State.RUNNING).first()
    if sweep is None:
        return
    prune(sweep)
    # Before starting trials: if all trials so far failed, no other may start.
    finish(sweep_id)
    while start_next_trial(sweep_id):
        pass


def prune(sweep: Sweep) -> None:
    """Request cancellation of each running trial that the early-stopping rule rejects."""
    rule = sweep.early_stopping["rule"]
    running = list(sweep.jobs.filter(status=Status.RUNNING, stop_requested=Stop.NONE))
    if rule == "none" or not running:
        return
    histories = trials.trial_histories(sweep)
    direction = trials.objective_direction(sweep)
    for job in running:
        history = histories.get(job.pk)
        others = [other for pk, other in histories.items() if pk != job.pk]
        reason = history and pruners.should_prune(
            rule,
            sweep.early_stopping["warmup_epochs"],
            sweep.early_stopping["min_trials"],
            history,
            others,
            direction,
        )
        if reason:
            with suppress(lifecycle.ConflictError):
                lifecycle.request_cancel(job, f"sweep: {rule} rule", f"{sweep.objective} {reason}")


def start_next_trial(sweep_id: UUID) -> bool:
    """Start the next trial if a slot is free; return whether another one may follow."""
    sweep = Sweep.objects.filter(
        pk=sweep_id, status=State.RUNNING, started_trials__lt=F("total_trials")
    ).first()
    if sweep is None or sweep.jobs.filter(status__in=ACTIVE).count() >= sweep.max_parallel:
        return False
    number = sweep.started_trials + 1
    results = trials.trial_results(trials.list_trials(sweep)) if sweep.method == "tpe" else []
    direction = trials.objective_direction(sweep)
    try:
        point = suggest(
            sweep.method, sweep.space, sweep.config, sweep.seed, number, results, direction
        )
        config = with_point(sweep.config, point)
    except InvalidInputError as error:
        _fail(sweep, f"No valid parameters for trial {number}: {error}")
        return False
    owner = User.objects.get(pk=sweep.owner_id)
    with transaction.atomic():
        # The process that increments the counter submits the job, in the same transaction.
        row = Sweep.objects.filter(
            pk=sweep_id, status=State.RUNNING, started_trials=sweep.started_trials
        )
        if row.update(started_trials=number):
            lifecycle.submit(
                owner,
                sweep.dataset,
                config,
                f"{sweep.name[:180]} #{number}",
                policy=QueuePolicy.model_validate(sweep.policy),
                program=sweep.program,
                sweep=sweep,
                trial=number,
            )
    return True


def finish(sweep_id: UUID) -> None:
    """End a sweep whose trials have all ended; it fails if every trial failed."""
    sweep = Sweep.objects.filter(pk=sweep_id, status=State.RUNNING).first()
    if sweep is None:
        return
    rows = sweep.jobs.order_by().values_list("status")
    counts = dict(rows.annotate(count=Count("pk")).values_list("status", "count"))
    failed, total = counts.get(Status.FAILED, 0), sum(counts.values())
    unfinished = any(counts.get(status) for status in (*ACTIVE, Status.PAUSED))
    finished = sweep.started_trials >= sweep.total_trials and not unfinished
    if (finished and 0 < failed == total) or (
        failed >= MAX_INITIAL_FAILURES and _all_failed(sweep)
    ):
        last = sweep.jobs.filter(status=Status.FAILED).order_by("-trial").first()
        message = last.error_message if isinstance(last, Job) else ""
        _fail(sweep, f"All {failed} trials failed. Last error: {message}")
    elif finished:
        state = State.COMPLETED if counts.get(Status.COMPLETED) else State.CANCELLED
        sweep_lifecycle.transition(sweep, Q(status=State.RUNNING), state, finished_at=Now())


def _all_failed(sweep: Sweep) -> bool:
    """Whether every trial failed or has not completed an epoch."""
    without_result = Q(status=Status.FAILED) | Q(status__in=ACTIVE, current_epoch=0)
    return not sweep.jobs.exclude(without_result).exists()


def _fail(sweep: Sweep, message: str) -> None:
    log.warning("Sweep %s failed. %s", sweep.pk, message)
    sweep_lifecycle.transition(
        sweep, Q(status=State.RUNNING), State.FAILED, error_message=message, finished_at=Now()
    )
