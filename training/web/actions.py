"""Actions on jobs and sweeps in pages and the admin, and messages about their outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user
from training.jobs import lifecycle as jobs
from training.jobs.lifecycle import ConflictError
from training.models import Job, Sweep
from training.sweeps import lifecycle as sweeps

Row = TypeVar("Row", Job, Sweep)


@dataclass(frozen=True, slots=True)
class Action(Generic[Row]):
    """`run(row, username)` raises ConflictError if the row's state forbids the action.

    It raises LimitReachedError if a limit of the row's owner forbids it.
    """

    run: Callable[[Row, str], object]
    success: str


JOB_ACTIONS: dict[str, Action[Job]] = {
    "pause": Action(jobs.request_pause, "Pause requested."),
    "resume": Action(jobs.resume, "Queued to resume from the last checkpoint."),
    "cancel": Action(jobs.request_cancel, "Cancellation requested."),
}
SWEEP_ACTIONS: dict[str, Action[Sweep]] = {
    "pause": Action(sweeps.pause, "Sweep paused; running trials pause after the current epoch."),
    "resume": Action(sweeps.resume, "Sweep resumed."),
    "cancel": Action(sweeps.cancel, "Sweep cancelled; running trials stopped."),
}


def perform_action(request: HttpRequest, row: Row, action: Action[Row], label: str = "") -> bool:
    """Run the action as the signed-in user and queue a message with its outcome.

    `label` prefixes the message, for actions on several rows. Returns whether the action succeeded.
    """
    prefix = f"{label}: " if label else ""
    try:
        action.run(row, signed_in_user(request).username)
    except (ConflictError, LimitReachedError) as conflict:
        messages.warning(request, f"{prefix}{conflict}")
        return False
    except ObjectDoesNotExist:
        messages.warning(request, f"{prefix}It was deleted in the meantime.")
        return False
    messages.success(request, f"{prefix}{action.success}")
    return True
