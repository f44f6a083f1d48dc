"""Who may see what, and steer it: its owner, the team it is shared with, and staff.

The one place that decides, for pages, API, sockets, streams and desk. What one may not see is not
there (404). Members of the team steer as the owner does; to share and to delete is the owner's.
"""

from __future__ import annotations

from typing import TypeVar, cast

from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from training.models import Dataset, Job, Sweep, TrainedModel
from training.models.webhooks import Webhook

Owned = TypeVar("Owned", Job, Dataset, TrainedModel, Sweep, Webhook)
SHARED = (Job, Dataset, TrainedModel)  # a model goes with its job


class NoSuchTeamError(ValueError):
    """There is none of that name that the user belongs to."""


def visible_to(
    rows: QuerySet[Owned], user: User | AnonymousUser, owner: str = "owner"
) -> QuerySet[Owned]:
    """Those of `rows` that this user may see and steer; nobody signed in sees nothing."""
    if not user.is_authenticated or not user.is_active:
        return rows.none()
    if user.is_staff:
        return rows
    mine = Q(**{owner: user.pk})
    if not issubclass(rows.model, SHARED):
        return rows.filter(mine)
    team = owner.removesuffix("owner") + "team"
    # A handful of ids, asked for once, instead of a join on every list.
    teams = list(user.groups.values_list("pk", flat=True))
    return rows.filter(mine | Q(**{f"{team}__in": teams}) if teams else mine)


def is_owner(row: Job | Dataset, user: User) -> bool:
    """Whether this user may share and delete the row; staff may."""
    return user.is_staff or row.owner_id == user.pk


def require_owner(row: Job | Dataset, user: User) -> None:
    """PermissionDenied where the row is only shared with this user."""
    if not is_owner(row, user):
        raise PermissionDenied(f"Only {row.owner.username}, who owns it, may do this.")


def teams_of(user: User) -> QuerySet[Group]:
    """Those that this user may share with."""
    rows = Group.objects.all() if user.is_staff else user.groups.all()
    return rows.order_by("name")


def get_team(user: User, name: str | None) -> Group | None:
    """The team of that name; None for none. NoSuchTeam where the user does not belong to it."""
    if not name:
        return None
    found = teams_of(user).filter(name=name).first()
    if found is None:
        raise NoSuchTeamError(f"You belong to no team {name!r}.")
    return found


def signed_in_user(request: HttpRequest) -> User:
    """Who asks, where only somebody who has signed in gets."""
    return cast(User, request.user)
