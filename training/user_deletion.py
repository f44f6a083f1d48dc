"""Deletion of a user: their objects are handed to another user, or deleted too."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Manager, Model, Q
from django.db.models.functions import Now

from heimdall_sdk.text import count_of
from training.accounts import audit, passwords
from training.datasets import service as datasets
from training.jobs import lifecycle, reports
from training.jobs.lifecycle import ConflictError
from training.models import Dataset, Job, Project, RegisteredModel, Sweep, TrackioRun
from training.models.states import ACTIVE
from training.sweeps import lifecycle as sweeps

MAX_PROJECT_NAME, MAX_MODEL_NAME, MAX_NAMED = 200, 250, 10
UNFINISHED_SWEEPS = (Sweep.State.RUNNING, Sweep.State.PAUSED)


class UserDeletionError(Exception):
    """The user cannot be deleted in this way; the message says what to do."""


class StillStoppingError(UserDeletionError):
    """Jobs of the user are still running; they were asked to stop."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} running job(s) were asked to stop and have not ended yet. The user was "
            "deactivated; delete again in a few seconds."
        )


def count_owned(user: User) -> dict[str, int]:
    """What the user owns, by its plural name."""
    counts = {
        "jobs": Job.objects.filter(owner=user).count(),
        "sweeps": Sweep.objects.filter(owner=user).count(),
        "datasets": Dataset.objects.filter(owner=user).count(),
        "projects": Project.objects.filter(owner=user).count(),
        "registered models": RegisteredModel.objects.filter(owner=user).count(),
    }
    return {name: count for name, count in counts.items() if count}


def describe_owned(user: User) -> str:
    """As in "2 jobs, 1 dataset", or "nothing"."""
    counts = count_owned(user).items()
    return ", ".join(count_of(count, name.removesuffix("s")) for name, count in counts) or "nothing"


def delete_user(user: User, hand_to: User | None, actor: str = "") -> None:
    """Delete the user, with tokens, sessions and webhooks.

    What they own goes to `hand_to`, and running jobs continue; with None it is deleted, with its
    files. Raises UserDeletionError; StillStoppingError can be repeated.
    """
    _check(user, hand_to)
    if hand_to is None:
        _stop_everything(user, actor)
    with transaction.atomic():
        owned, name, pk = count_owned(user), user.username, user.pk
        if hand_to is None:
            _delete_owned(user)
        else:
            _hand_over(user, hand_to)
        passwords.end_access(user, with_tokens=True)
        user.delete()
        to = hand_to.username if hand_to else ""
        audit.record("user deleted", f"user {pk} {name}", actor, handed_to=to, **owned)


def _check(user: User, hand_to: User | None) -> None:
    if user == hand_to:
        raise UserDeletionError("Choose a user other than the one to delete.")
    if hand_to is not None and not hand_to.is_active:
        raise UserDeletionError(f"{hand_to.username} is deactivated; choose an active user.")
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    if user.is_superuser and not others.exists():
        raise UserDeletionError(
            f"{user.username} is the only active superuser; create another one first."
        )
    if hand_to is None and (held := _held_by_others(user)):
        more = len(held) - MAX_NAMED
        named = ", ".join(held[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise UserDeletionError(
            f"Other users use datasets of {user.username}: {named}. Hand everything to another "
            "user, or have those jobs and sweeps deleted first."
        )


def _held_by_others(user: User) -> list[str]:
    on_dataset = Q(dataset__owner=user) & ~Q(owner=user)
    rows: Iterable[Job | Sweep] = [
        *Job.objects.filter(on_dataset).select_related("owner", "dataset"),
        *Sweep.objects.filter(on_dataset).select_related("owner", "dataset"),
    ]
    return [
        f"{row.dataset.name!r} by {type(row).__name__.lower()} {str(row)!r} of {row.owner.username}"
        for row in rows
        if row.dataset
    ]


def _stop_everything(user: User, actor: str) -> None:
    """Deactivate the user, so that nothing new starts, and stop running jobs and sweeps."""
    User.objects.filter(pk=user.pk).update(is_active=False)
    for sweep in Sweep.objects.filter(owner=user, status__in=UNFINISHED_SWEEPS):
        with suppress(ConflictError):
            sweeps.cancel(sweep, actor)
    for job in Job.objects.filter(owner=user, status__in=ACTIVE):
        with suppress(ConflictError):
            if job.reported:
                reports.finish(job, reports.Finish(status="cancelled"), actor)
            else:
                lifecycle.request_cancel(job, actor)
    if running := Job.objects.filter(owner=user, status__in=ACTIVE).count():
        raise StillStoppingError(running)


def _delete_owned(user: User) -> None:
    for sweep in Sweep.objects.filter(owner=user):
        sweeps.delete(sweep)
    for job in Job.objects.filter(owner=user):
        lifecycle.delete_job(job)
    for dataset in Dataset.objects.filter(owner=user):
        datasets.delete_dataset(dataset)
    Project.objects.filter(owner=user).delete()


def _hand_over(user: User, to: User) -> None:
    _hand_over_named(Project.objects, MAX_PROJECT_NAME, user, to)
    _hand_over_named(RegisteredModel.objects, MAX_MODEL_NAME, user, to)
    rows: list[type[Model]] = [Sweep, Dataset]
    for model in rows:
        model._default_manager.filter(owner=user).update(owner=to)  # noqa: SLF001
    # Both may have imported the same runs.
    known = Job.objects.filter(owner=to).exclude(external_id="").values("external_id")
    Job.objects.filter(owner=user, external_id__in=known).update(external_id="")
    Job.objects.filter(owner=user).update(owner=to, updated_at=Now())
    # Else they would be deleted with the user, and the jobs would fail when they fall silent.
    taken = TrackioRun.objects.filter(owner=to).values("run_id")
    TrackioRun.objects.filter(owner=user).exclude(run_id__in=taken).update(owner=to)


def _hand_over_named(rows: Manager[Any], length: int, user: User, to: User) -> None:
    """Objects whose names are unique among those of an owner."""
    taken = set(rows.filter(owner=to).values_list("name", flat=True))
    for pk, name in rows.filter(owner=user).values_list("pk", "name"):
        free = _free_name(name, taken, user, length)
        rows.filter(pk=pk).update(owner=to, name=free)
        taken.add(free)


def _free_name(name: str, taken: Container[str], user: User, length: int) -> str:
    free, number = name, 1
    while free in taken:
        suffix = f" (of {user.username})" if number == 1 else f" (of {user.username}, {number})"
        free, number = name[: length - len(suffix)] + suffix, number + 1
    return free
