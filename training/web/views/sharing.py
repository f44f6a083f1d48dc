"""Shares jobs, sweeps and datasets with a team."""

from __future__ import annotations

import uuid
from typing import TypedDict

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from training.accounts.permissions import (
    NoSuchTeamError,
    get_team,
    is_owner,
    require_owner,
    signed_in_user,
    teams_of,
    visible_to,
)
from training.datasets import service as datasets
from training.jobs import lifecycle
from training.models import Dataset, Job, Sweep
from training.sweeps import lifecycle as sweep_lifecycle
from training.web.sign_in import post_only, sign_in_required
from training.web.views.responses import redirect_see_other

Shareable = Job | Sweep | Dataset


class Sharing(TypedDict):
    """The context of `_share.html`; `teams` is empty if the user does not own the row."""

    shared: Shareable
    owned: bool
    teams: list[Group]
    share: str  # URL


def sharing(row: Shareable, user: User) -> Sharing:
    owned = is_owner(row, user)
    kind = type(row).__name__.lower()
    return {
        "shared": row,
        "owned": owned,
        "teams": list(teams_of(user)) if owned else [],
        "share": reverse(f"share-{kind}", args=[row.pk]),
    }


@post_only
@sign_in_required
def share(request: HttpRequest, pk: uuid.UUID, kind: str) -> HttpResponse:
    """Share a job, sweep or dataset with the submitted team, or with no team if it is empty."""
    user = signed_in_user(request)
    row = _find(kind, pk, user)
    require_owner(row, user)
    try:
        team = get_team(user, request.POST.get("team"))
    except NoSuchTeamError as error:
        messages.warning(request, str(error))
        return redirect_see_other(kind, pk)
    match row:
        case Job():
            lifecycle.update_metadata(row, team=team)
        case Sweep():
            sweep_lifecycle.share(row, team)
        case Dataset():
            datasets.share_dataset(row, team)
    messages.success(request, f"Shared with {team}." if team else "No longer shared.")
    return redirect_see_other(kind, pk)


def _find(kind: str, pk: uuid.UUID, user: User) -> Shareable:
    match kind:
        case "job":
            return get_object_or_404(visible_to(Job.objects.all(), user), pk=pk)
        case "sweep":
            return get_object_or_404(visible_to(Sweep.objects.all(), user), pk=pk)
        case _:
            return get_object_or_404(visible_to(Dataset.objects.all(), user), pk=pk)
