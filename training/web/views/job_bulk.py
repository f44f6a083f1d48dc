"""Actions on the jobs that are selected in the list."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from heimdall_sdk.text import count_of
from training.accounts.limits import LimitReachedError
from training.accounts.permissions import is_owner, signed_in_user, visible_to
from training.jobs import lifecycle
from training.jobs.status import allowed_actions
from training.models import Job
from training.models.states import DELETABLE
from training.web.actions import JOB_ACTIONS
from training.web.sign_in import post_only, sign_in_required
from training.web.views.responses import HttpResponseSeeOther

MAX_JOBS = 200
MAX_REASONS = 5
# The action and how its success is reported, after a count.
ACTIONS = {
    "pause": ("Pause", "Pause requested for"),
    "resume": ("Resume", "Queued to resume:"),
    "cancel": ("Cancel", "Cancellation requested for"),
    "delete": ("Delete", "Deleted"),
}
CONFIRMED = ("cancel", "delete")


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected jobs that the action can change, and the others with a reason each."""

    allowed: list[Job]
    refused: list[tuple[Job, str]]

    @classmethod
    def of(cls, jobs: Sequence[Job], action: str, user: User) -> Selection:
        reasons = [(job, _refuse(job, action, user)) for job in jobs]
        return cls(
            [job for job, reason in reasons if not reason],
            [(job, reason) for job, reason in reasons if reason],
        )


def _refuse(job: Job, action: str, user: User) -> str:
    """The reason why the action is not possible, else empty."""
    if action != "delete":
        return "" if allowed_actions(job)[action] else f"it is {job.display_status}"
    if not is_owner(job, user):
        return f"only its owner ({job.owner.username}) can delete it"
    return "" if job.status in DELETABLE else f"it is {job.display_status}; cancel it first"


@post_only
@sign_in_required
def job_actions(request: HttpRequest) -> HttpResponse:
    """`action` on each `job`. Those that cannot be undone ask for `confirmed` first."""
    user = signed_in_user(request)
    action, back = request.POST.get("action", ""), _back(request)
    selected = _uuids(request.POST.getlist("job"))
    if action == "compare":
        chosen = ",".join(str(pk) for pk in selected)
        return HttpResponseSeeOther(f"{reverse('compare')}?jobs={chosen}")
    if action not in ACTIONS:
        known = ", ".join(["compare", *ACTIONS])
        messages.warning(request, f"{action[:40]!r} is not an action; choose one of {known}.")
        return HttpResponseSeeOther(back)
    if not selected or len(selected) > MAX_JOBS:
        messages.warning(request, f"Select 1 to {MAX_JOBS} jobs; {len(selected)} are selected.")
        return HttpResponseSeeOther(back)
    rows = visible_to(Job.objects.select_related("owner"), user).in_bulk(selected)
    found = [rows[pk] for pk in selected if pk in rows]
    selection = Selection.of(found, action, user)
    if action in CONFIRMED and "confirmed" not in request.POST and selection.allowed:
        context = {
            "action": action,
            "verb": ACTIONS[action][0],
            "selection": selection,
            "next": back,
        }
        return render(request, "training/job_bulk.html", context)
    _perform(request, action, selection, missing=len(selected) - len(found))
    return HttpResponseSeeOther(back)


def _perform(request: HttpRequest, action: str, selection: Selection, missing: int) -> None:
    user, done = signed_in_user(request), 0
    refused = list(selection.refused)
    for job in selection.allowed:
        try:
            if action == "delete":
                lifecycle.delete_job(job)
            else:
                JOB_ACTIONS[action].run(job, user.username)
        except (lifecycle.ConflictError, LimitReachedError, Job.DoesNotExist) as conflict:
            refused.append((job, str(conflict)))
        else:
            done += 1
    if done:
        messages.success(request, f"{ACTIONS[action][1]} {count_of(done, 'job')}.")
    if missing:
        messages.warning(request, f"Not found, perhaps deleted: {count_of(missing, 'job')}.")
    if refused:
        messages.warning(request, _refusal(action, refused))


def _refusal(action: str, refused: Sequence[tuple[Job, str]]) -> str:
    """One sentence for all: the jobs by reason."""
    parts = []
    for reason, count in Counter(reason for _, reason in refused).most_common(MAX_REASONS):
        names = [str(job) for job, other in refused if other == reason]
        more = f" and {count - 3} more" if count > 3 else ""
        parts.append(f"{', '.join(names[:3])}{more}: {reason.rstrip('.')}")
    return f"Could not {action} {count_of(len(refused), 'job')}. {'; '.join(parts)}."


def _uuids(texts: Sequence[str]) -> list[uuid.UUID]:
    found = []
    for text in dict.fromkeys(texts):
        try:
            found.append(uuid.UUID(text))
        except ValueError:
            continue
    return found


def _back(request: HttpRequest) -> str:
    """The list with its filters; only a path of this site."""
    given = request.POST.get("next", "")
    is_own = url_has_allowed_host_and_scheme(given, allowed_hosts=None)
    return given if is_own and given.startswith("/") else reverse("jobs")
