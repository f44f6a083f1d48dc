"""Permissions, for pages, API, WebSockets, streams and admin alike.

Owners, members of the team it is shared with, and staff can see and control an object; others get
404. Only the owner and staff can share or delete it.
"""

from __future__ import annotations

from typing import TypeVar, cast

from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.lookups import Exact, In
from django.http import HttpRequest

from heimdall_sdk.text import TextError, normalize_name
from training.models import Dataset, Job, Project, Sweep, TrainedModel
from training.models.expressions import Unindexed
from training.models.webhooks import Webhook

Owned = TypeVar("Owned", Job, Dataset, TrainedModel, Sweep, Webhook, Project)
MANY_JOBS = 2000
SHAREABLE = (Job, Dataset, Sweep, TrainedModel, Project)  # a model is shared with its job


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


def visible_by_key(rows: QuerySet[Job], user: User) -> QuerySet[Job]:
    """`visible_to`, for one row that is found by its key: one query, also for the teams."""
    if not user.is_active:
        return rows.none()
    if user.is_staff:
        return rows
    return rows.filter(Q(owner=user.pk) | Q(team__in=user.groups.all()))


def visible_in_order(rows: QuerySet[Job], user: User) -> QuerySet[Job]:
    """`visible_to`, for a list of which a page is read.

    SQLite does not know how many rows match. Of a user who sees many jobs, it would read and sort
    all, where reading the jobs in their order until a page is full takes a few rows.
    """
    if connection.vendor != "sqlite" or user.is_staff or not user.is_active:
        return visible_to(rows, user)
    teams = list(user.groups.values_list("pk", flat=True))
    visible = Q(owner=user.pk) | Q(team__in=teams) if teams else Q(owner=user.pk)
    if Job.objects.order_by().filter(visible)[MANY_JOBS : MANY_JOBS + 1].exists():
        visible = Q(Exact(Unindexed("owner"), user.pk)) | Q(In(Unindexed("team"), teams))
    return rows.filter(visible)


def visible_parts(user: User) -> list[Q]:
    """Disjoint conditions whose union is `visible_to`, for counting.

    Each uses an index, where a condition with OR would read all rows of the user.
    """
    if user.is_staff and user.is_active:
        return [Q()]
    teams = list(user.groups.values_list("pk", flat=True)) if user.is_active else []
    own = Q(owner=user.pk) if user.is_active else Q(pk__in=[])
    return [own, Q(team__in=teams) & ~Q(owner=user.pk)] if teams else [own]


def is_owner(row: Job | Dataset | Sweep | Project, user: User) -> bool:
    """Whether this user can share and delete the row; staff can."""
    return user.is_staff or row.owner_id == user.pk


def require_owner(row: Job | Dataset | Sweep | Project, user: User) -> None:
    """Raise PermissionDenied if the row is only shared with this user."""
    if not is_owner(row, user):
        raise PermissionDenied(f"Only the owner ({row.owner.username}) can do this.")


def lost_access(owner: User, dataset: Dataset | None) -> str:
    """The reason why a job or sweep of the owner may not continue, else empty."""
    if not owner.is_active:
        return f"The account of {owner.username} is deactivated."
    if dataset is None or visible_to(Dataset.objects.filter(pk=dataset.pk), owner).exists():
        return ""
    return f"Dataset {dataset.name!r} is no longer shared with {owner.username}."


def teams_of(user: User) -> QuerySet[Group]:
    rows = Group.objects.all() if user.is_staff else user.groups.all()
    return rows.order_by("name")


def get_team(user: User, name: str | None) -> Group | None:
    """The team of that name, None for no name. NoSuchTeamError if the user is not a member."""
    if not name:
        return None
    try:
        name = normalize_name(name)
    except TextError as error:
        raise NoSuchTeamError(f"The name of the team {error}.") from None
    team = teams_of(user).filter(name=name).first()
    if team is None:
        raise NoSuchTeamError(f"You do not belong to a team named {name!r}.")
    return team


def usable_team(user: User, pk: int | None) -> Group | None:
    """The team of a row that is copied, if this user may share with it."""
    return None if pk is None else teams_of(user).filter(pk=pk).first()


def signed_in_user(request: HttpRequest) -> User:
    """`request.user` of a view that requires signing in."""
    return cast(User, request.user)
