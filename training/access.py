"""Who may see and steer what: its owner, and staff."""

from __future__ import annotations

from typing import TypeVar, cast

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from django.http import HttpRequest

from training.models import Dataset, Job, Sweep, TrainedModel
from training.subscriptions import Webhook

Owned = TypeVar("Owned", Job, Dataset, TrainedModel, Sweep, Webhook)


def visible(
    rows: QuerySet[Owned], user: User | AnonymousUser, owner: str = "owner"
) -> QuerySet[Owned]:
    """Those of `rows` that this user may see and steer; nobody signed in sees nothing."""
    if not user.is_authenticated or not user.is_active:
        return rows.none()
    return rows if user.is_staff else rows.filter(**{owner: user.pk})


def signed_in(request: HttpRequest) -> User:
    """Who asks, where only somebody who has signed in gets."""
    return cast(User, request.user)
