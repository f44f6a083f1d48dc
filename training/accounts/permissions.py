"""Permissions, for pages, API, WebSockets, streams and admin alike.

Owners, members of the team it is shared with, and staff can see and control an object; others get
404. Only the owner and staff can share or delete it.
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
SHAREABLE = (Job, Dataset, TrainedModel)  # a model is shared with its job


class NoSuchTeamError(ValueError):
    """The user belongs to no team of that name."""


def visible_to(
    rows: QuerySet[Owned], user: User | AnonymousUser, owner: str = "owner"
) -> QuerySet[Owned]:
    """The rows this user can see and control. `owner` is the path to the owner's field."""
    if not user.is_authenticated or not user.is_active:
        return rows.none()
    if user.is_staff:
        return rows
    owned = Q(**{owner: user.pk})
    if not issubclass(rows.model, SHAREABLE):
        return rows.filter(owned)
    # A separate query for a few ids is faster than a join on every list.
    teams = list(user.groups.values_list("pk", flat=True))
    if not teams:
        return rows.filter(owned)
    team = "job__team" if rows.model is TrainedModel else "team"
    return rows.filter(owned | Q(**{f"{team}__in": teams}))


def is_owner(row: Job | Dataset, user: User) -> bool:
    """Whether this user can share and delete the row; staff can."""
    return user.is_staff or row.owner_id == user.pk


def require_owner(row: Job | Dataset, user: User) -> None:
    """Raise PermissionDenied if the row is only shared with this user."""
    if not is_owner(row, user):
        raise PermissionDenied(f"Only the owner ({row.owner.username}) can do this.")


def teams_of(user: User) -> QuerySet[Group]:
    """The teams this user can share with."""
    rows = Group.objects.all() if user.is_staff else user.groups.all()
    return rows.order_by("name")


def get_team(user: User, name: str | None) -> Group | None:
    """The team of that name, None for no name. NoSuchTeamError if the user is not a member."""
    if not name:
        return None
    team = teams_of(user).filter(name=name).first()
    if team is None:
        raise NoSuchTeamError(f"You do not belong to a team named {name!r}.")
    return team


def signed_in_user(request: HttpRequest) -> User:
    """`request.user` of a view that requires signing in."""
    return cast(User, request.user)
