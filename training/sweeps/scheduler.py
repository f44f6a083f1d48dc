"""Advance running sweeps: prune poor trials, start the next ones, finish completed sweeps.

All state is read from the database and each step is a compare-and-set, so any number of processes
may run this at the same time, and may be killed at any point.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from contextlib import suppress
from uuid import UUID

from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from pydantic import BaseModel

from training.accounts import limits
from training.accounts.limits import LimitReachedError
from training.accounts.permissions import lost_access, usable_team
from training.jobs import lifecycle
from training.jobs.policy import QueuePolicy
from training.jobs.projects import usable_project
from training.models import Job, Sweep
from training.models.states import ACTIVE, Status, Stop
from training.programs.manifest import ManifestError
from training.programs.registry import UnknownProgramError, get_program
from training.references import is_deleted_reference
from training.sweeps import lifecycle as sweep_lifecycle
from training.sweeps import pruners, trials
from training.sweeps.search_space import suggest, with_point
from training.validation import InvalidInputError

State = Sweep.State
# A sweep whose first trials all failed is failed early: the remaining trials would fail too.
MAX_INITIAL_FAILURES = 5

log = logging.getLogger(__name__)
_logged_failures: set[UUID] = set()  # sweeps whose current failure has been logged
_last_advanced: list[UUID] = []  # at most one


def run_once(seconds: float = 10.0) -> None:
    """Advance eligible sweeps for at most `seconds`; the next call continues with the next sweep.

    A failing sweep does not block the others.
    """
    deadline = time.monotonic() + seconds
    movable = list(movable_sweeps().order_by("pk").values_list("pk", flat=True))
    first = bisect_right(movable, _last_advanced[0]) if _last_advanced else 0
    for pk in movable[first:] + movable[:first]:
        _last_advanced[:] = [pk]
        try:
            advance_sweep(pk)
        except Exception as error:
            if isinstance(error, DatabaseError) and not is_deleted_reference(error):
                raise
            if pk not in _logged_failures:
                log.exception("Advancing sweep %s failed; retrying.", pk)
            _logged_failures.add(pk)
        else:
            _logged_failures.discard(pk)
        if time.monotonic() >= deadline:
            break


def movable_sweeps() -> QuerySet[Sweep]:
    """The running sweeps that `advance_sweep` may change; it skips all others."""
    jobs = Job.objects.filter(sweep=OuterRef("pk")).order_by()
    active = jobs.filter(status__in=ACTIVE).values("sweep").annotate(count=Count("pk"))
    unfinished = Exists(jobs.filter(status__in=[*ACTIVE, Status.PAUSED]))
    prunable = Exists(jobs.filter(status=Status.RUNNING, stop_requested=Stop.NONE))
    return (
        Sweep.objects.filter(status=State.RUNNING)
        .annotate(active=Coalesce(Subquery(active.values("count")), 0))
        .filter(
            Q(started_trials__lt=F("total_trials"), active__lt=F("max_parallel"))
            | Q(~unfinished, started_trials__gte=F("total_trials"))
            | Q(prunable, ~Q(early_stopping__rule="none"))
        )
    )


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
    rule = sweep.early_stopping["rule"]
    running = list(sweep.jobs.filter(status=Status.RUNNING, stop_requested=Stop.NONE))
    if rule == "none" or not running:
        return
    histories = trials.trial_histories(sweep)
    direction = trials.objective_direction(sweep)
    for job in running:
        history = histories.get(job.pk)
        # A trial that has reached its last epoch is not pruned: only its evaluation is left.
        if history and job.total_epochs and history.reached >= job.total_epochs:
            continue
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
    # Sampling takes seconds after many trials, and would be repeated in each pass.
    if not all(limits.has_room(sweep.owner_id, limit) for limit in lifecycle.LIMITS):
        return False
    number = sweep.started_trials + 1
    results = trials.trial_results(trials.list_trials(sweep)) if sweep.method == "tpe" else []
    direction = trials.objective_direction(sweep)
    try:
        parameters = get_program(sweep.program).parameters
        point = suggest(
            parameters,
            sweep.method,
            sweep.space,
            sweep.config,
            sweep.seed,
            number,
            results,
            direction,
        )
        config = with_point(parameters, sweep.config, point)
    except (UnknownProgramError, ManifestError) as error:
        _fail(sweep, f"Trial {number} cannot start: {error}")
        return False
    except InvalidInputError as error:
        _fail(sweep, f"No valid parameters for trial {number}: {error}")
        return False
    owner = User.objects.get(pk=sweep.owner_id)
    if reason := lost_access(owner, sweep.dataset):
        _fail(sweep, f"Trial {number} cannot start: {reason}")
        return False
    try:
        _submit_trial(sweep, number, owner, config)
    except LimitReachedError:
        return False  # a later pass starts it
    return True


def _submit_trial(sweep: Sweep, number: int, owner: User, config: BaseModel) -> None:
    # The owner may no longer be staff.
    policy = QueuePolicy.model_validate(sweep.policy).allowed_for(owner)
    with transaction.atomic():
        limits.lock_owner(owner.pk)
        # The process that increments the counter submits the job, in the same transaction. The
        # sweep may have been shared, unshared or moved while the trial was sampled.
        rows = Sweep.objects.filter(
            pk=sweep.pk, status=State.RUNNING, started_trials=sweep.started_trials
        )
        current = rows.select_for_update(no_key=True).first()
        if current is None:
            return
        rows.update(started_trials=number)
        lifecycle.submit(
            owner,
            sweep.dataset,
            config,
            f"{current.name[:180]} #{number}",
            policy=policy,
            program=sweep.program,
            project=usable_project(owner, current.project_id),
            sweep=current,
            trial=number,
            team=usable_team(owner, current.team_id),
        )


def finish(sweep_id: UUID) -> None:
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
        _fail(sweep, f"All {failed} finished trials failed. Last error: {message}")
    elif finished:
        state = State.COMPLETED if counts.get(Status.COMPLETED) else State.CANCELLED
        sweep_lifecycle.transition(sweep, Q(status=State.RUNNING), state, finished_at=Now())


def _all_failed(sweep: Sweep) -> bool:
    without_result = Q(status=Status.FAILED) | Q(status__in=ACTIVE, current_epoch=0)
    return not sweep.jobs.exclude(without_result).exists()


def _fail(sweep: Sweep, message: str) -> None:
    log.warning("Sweep %s failed. %s", sweep.pk, message)
    sweep_lifecycle.transition(
        sweep, Q(status=State.RUNNING), State.FAILED, error_message=message, finished_at=Now()
    )
