"""Carries running sweeps on: stops the hopeless, starts what is next, says when all is done.

Everything is read from the rows and each step is a compare-and-set, so any number of processes may
do this at any time, and be killed while they do.
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
from training.models import Job, Sweep
from training.models.states import ACTIVE, Status, Stop
from training.sweeps import lifecycle as steering
from training.sweeps import pruners, trials
from training.sweeps.search_space import suggest, with_point
from training.validation import InvalidInputError

State = Sweep.State
# If these are all that there is and each of them failed, the others would fail too.
MAX_INITIAL_FAILURES = 5

log = logging.getLogger(__name__)
_log_once: set[UUID] = set()  # of which sweeps it has been said that they are stuck


def run_once() -> None:
    """Every running sweep; one that cannot be carried on holds up no other."""
    for pk in Sweep.objects.filter(status=State.RUNNING).values_list("pk", flat=True):
        try:
            advance_sweep(pk)
        except DatabaseError:
            raise
        except Exception:
            if pk not in _log_once:
                log.exception("Sweep %s cannot be carried on; it is tried again.", pk)
            _log_once.add(pk)
        else:
            _log_once.discard(pk)


def advance_sweep(sweep_id: UUID) -> None:
    """One sweep, as far as it can go now."""
    sweep = Sweep.objects.filter(pk=sweep_id, status=State.RUNNING).first()
    if sweep is None:
        return
    prune(sweep)
    # First what is over: where all trials so far failed, no other is started.
    finish(sweep_id)
    while start_next_trial(sweep_id):
        pass


def prune(sweep: Sweep) -> None:
    """Cancel each running trial that the sweep's rule gives up."""
    rule = sweep.early_stopping["rule"]
    running = list(sweep.jobs.filter(status=Status.RUNNING, stop_requested=Stop.NONE))
    if rule == "none" or not running:
        return
    courses = trials.trial_histories(sweep)
    warmup, least = sweep.early_stopping["warmup_epochs"], sweep.early_stopping["min_trials"]
    for job in running:
        mine = courses.get(job.pk)
        others = [course for pk, course in courses.items() if pk != job.pk]
        if mine and (why := pruners.should_prune(rule, warmup, least, mine, others)):
            with suppress(lifecycle.ConflictError):
                lifecycle.request_cancel(job, f"sweep: {rule} rule", f"{sweep.objective} {why}")


def start_next_trial(sweep_id: UUID) -> bool:
    """Start the next trial where a slot is free; whether there may be another to start."""
    sweep = Sweep.objects.filter(
        pk=sweep_id, status=State.RUNNING, started_trials__lt=F("total_trials")
    ).first()
    if sweep is None or sweep.jobs.filter(status__in=ACTIVE).count() >= sweep.max_parallel:
        return False
    number = sweep.started_trials + 1
    known = trials.trial_results(trials.list_trials(sweep)) if sweep.method == "tpe" else []
    try:
        point = suggest(sweep.method, sweep.space, sweep.config, sweep.seed, number, known)
        config = with_point(sweep.config, point)
    except InvalidInputError as error:
        _fail(sweep, f"No trial {number} could be made: {error}")
        return False
    owner = User.objects.get(pk=sweep.owner_id)
    with transaction.atomic():
        # Whoever counts first starts it; it is counted only if the training is there.
        row = Sweep.objects.filter(
            pk=sweep_id, status=State.RUNNING, started_trials=sweep.started_trials
        )
        if row.update(started_trials=number):
            name = f"{sweep.name[:180]} #{number}"
            lifecycle.submit(owner, sweep.dataset, config, name, sweep=sweep, trial=number)
    return True


def finish(sweep_id: UUID) -> None:
    """The sweep is over when its last trial is; it failed where every trial did."""
    sweep = Sweep.objects.filter(pk=sweep_id, status=State.RUNNING).first()
    if sweep is None:
        return
    rows = sweep.jobs.order_by().values_list("status")
    counts = dict(rows.annotate(count=Count("pk")).values_list("status", "count"))
    failed, there = counts.get(Status.FAILED, 0), sum(counts.values())
    at_work = any(counts.get(status) for status in (*ACTIVE, Status.PAUSED))
    over = sweep.started_trials >= sweep.total_trials and not at_work
    if (over and 0 < failed == there) or (failed >= MAX_INITIAL_FAILURES and _all_failed(sweep)):
        last = sweep.jobs.filter(status=Status.FAILED).order_by("-trial").first()
        said = last.error_message if isinstance(last, Job) else ""
        _fail(sweep, f"All of {failed} trials failed; the last one said: {said}")
    elif over:
        done = State.COMPLETED if counts.get(Status.COMPLETED) else State.CANCELLED
        steering.transition(sweep, Q(status=State.RUNNING), done, finished_at=Now())


def _all_failed(sweep: Sweep) -> bool:
    """Every trial failed, or has not had an epoch."""
    fruitless = Q(status=Status.FAILED) | Q(status__in=ACTIVE, current_epoch=0)
    return not sweep.jobs.exclude(fruitless).exists()


def _fail(sweep: Sweep, message: str) -> None:
    log.warning("Sweep %s failed. %s", sweep.pk, message)
    steering.transition(
        sweep, Q(status=State.RUNNING), State.FAILED, error_message=message, finished_at=Now()
    )
