"""Limits per user. The operator sets them, and staff can make exceptions for a user.

`require` and `hold` are the only checks. Both take a place atomically: `require` locks the owner's
row until the transaction ends, and `hold` counts in this process.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Sum
from django.db.models.functions import Now

from realtime import connections
from training.models import Dataset, ImportInProgress, Job, LimitOverride, Project, Sweep
from training.models.states import Status
from training.models.webhooks import Delivery, Webhook

# The web process that began an older import has died.
CACHE_SECONDS = 10
IMPORT_EXPIRES = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Limit:
    """`way_out` continues "the limit is 5: …". `at_once` limits free up by themselves."""

    name: str  # in settings.USER_LIMITS
    title: str
    noun: str
    way_out: str
    count: Callable[[int], int]  # by the owner's ID
    at_once: bool = False
    is_bytes: bool = False

    def format(self, value: int) -> str:
        return format_bytes(value) if self.is_bytes else f"{value:,}"


class LimitReachedError(Exception):
    """The user has as many as the limit allows."""

    def __init__(self, limit: Limit, owner: User, used: int, maximum: int) -> None:
        super().__init__(
            f"{owner.username} has {limit.format(used)} {limit.noun}, and the limit is "
            f"{limit.format(maximum)}: {limit.way_out}, or ask an operator for a higher limit."
        )
        self.limit, self.used, self.maximum = limit, used, maximum


def _queued_jobs(owner_id: int) -> int:
    return Job.objects.filter(owner=owner_id, status=Status.QUEUED, reported=False).count()


def _running_jobs(owner_id: int) -> int:
    return Job.objects.filter(owner=owner_id, status=Status.RUNNING, reported=False).count()


def _reported_jobs(owner_id: int) -> int:
    return Job.objects.filter(owner=owner_id, status=Status.RUNNING, reported=True).count()


def _running_sweeps(owner_id: int) -> int:
    return Sweep.objects.filter(owner=owner_id, status=Sweep.State.RUNNING).count()


def _projects(owner_id: int) -> int:
    return Project.objects.filter(owner=owner_id).count()


def _imports(owner_id: int) -> int:
    return ImportInProgress.objects.filter(
        user=owner_id, started_at__gte=Now() - IMPORT_EXPIRES
    ).count()


def _webhooks(owner_id: int) -> int:
    return Webhook.objects.filter(owner=owner_id).count()


def _pending_deliveries(owner_id: int) -> int:
    # A disabled webhook gets no more deliveries, and its pending ones are not sent.
    return Delivery.objects.filter(
        webhook__owner=owner_id, webhook__enabled=True, status=Delivery.State.PENDING
    ).count()


def _stored_bytes(owner_id: int) -> int:
    return sum(
        rows.filter(owner=owner_id).aggregate(total=Sum("disk_bytes"))["total"] or 0
        for rows in (Job.objects.order_by(), Dataset.objects.order_by())
    )


def _held(name: str) -> Callable[[int], int]:
    return lambda owner_id: _holds[owner_id, name]


QUEUED_JOBS = Limit(
    "queued_jobs", "Queued jobs", "queued jobs",
    "cancel some, or wait until some have started", _queued_jobs,
)  # fmt: skip
RUNNING_JOBS = Limit(
    "running_jobs", "Running jobs", "running jobs", "wait until one has ended", _running_jobs
)
REPORTED_JOBS = Limit(
    "reported_jobs", "Running reported jobs", "running reported jobs",
    "finish some of them first", _reported_jobs,
)  # fmt: skip
RUNNING_SWEEPS = Limit(
    "running_sweeps", "Running sweeps", "running sweeps",
    "pause or cancel one, or wait until one has ended", _running_sweeps,
)  # fmt: skip
PROJECTS = Limit("projects", "Projects", "projects", "delete some first", _projects)
IMPORTS = Limit(
    "imports", "Concurrent imports", "imports under way",
    "wait until one has ended", _imports, at_once=True,
)  # fmt: skip
STREAMS = Limit(
    "streams", "Open sockets and event streams (this web process)",
    "open sockets and event streams", "close some first", connections.count_open, at_once=True,
)  # fmt: skip
DOWNLOADS = Limit(
    "downloads", "Concurrent downloads (this web process)", "downloads under way",
    "wait until one has ended", _held("downloads"), at_once=True,
)  # fmt: skip
UPLOADS = Limit(
    "uploads", "Concurrent large uploads (this web process)", "large uploads under way",
    "wait until one has ended", _held("uploads"), at_once=True,
)  # fmt: skip
PREDICTIONS = Limit(
    "predictions", "Concurrent predictions (this web process)", "predictions under way",
    "wait until one has ended", _held("predictions"), at_once=True,
)  # fmt: skip
STORED_BYTES = Limit(
    "stored_bytes", "Stored files", "of stored files",
    "delete jobs or datasets first", _stored_bytes, is_bytes=True,
)  # fmt: skip
WEBHOOKS = Limit("webhooks", "Webhooks", "webhooks", "delete one first", _webhooks)
PENDING_DELIVERIES = Limit(
    "pending_deliveries", "Pending webhook deliveries", "pending webhook deliveries",
    "wait until some have been sent, or delete a webhook", _pending_deliveries,
)  # fmt: skip
ALL = (
    QUEUED_JOBS, RUNNING_JOBS, REPORTED_JOBS, RUNNING_SWEEPS, PROJECTS, IMPORTS, STREAMS,
    DOWNLOADS, UPLOADS, PREDICTIONS, STORED_BYTES, WEBHOOKS, PENDING_DELIVERIES,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of the account page."""

    limit: Limit
    used: int
    maximum: int

    @property
    def is_reached(self) -> bool:
        return self.used >= self.maximum

    @property
    def used_text(self) -> str:
        return self.limit.format(self.used)

    @property
    def maximum_text(self) -> str:
        return self.limit.format(self.maximum)


def usage(owner: User) -> list[Usage]:
    overrides = dict(LimitOverride.objects.filter(user=owner).values_list("name", "maximum"))
    return [
        Usage(limit, limit.count(owner.pk), overrides.get(limit.name, _default(limit)))
        for limit in ALL
    ]


def maximum(limit: Limit, owner_id: int) -> int:
    return maximums(limit, [owner_id])[owner_id]


def maximums(limit: Limit, owner_ids: Collection[int]) -> Mapping[int, int]:
    rows = LimitOverride.objects.filter(user__in=owner_ids, name=limit.name)
    return dict.fromkeys(owner_ids, _default(limit)) | dict(rows.values_list("user_id", "maximum"))


def _default(limit: Limit) -> int:
    return int(settings.USER_LIMITS[limit.name])


def max_streams(user_id: int) -> int:
    """The limit of open sockets and event streams; what staff change applies within seconds."""
    return _stream_overrides(int(time.monotonic() // CACHE_SECONDS)).get(user_id, _default(STREAMS))


@lru_cache(maxsize=1)
def _stream_overrides(period: int) -> dict[int, int]:
    # Thousands of sockets connect at once after a restart: a query for each would take seconds.
    rows = LimitOverride.objects.filter(name=STREAMS.name)
    return dict(rows.values_list("user_id", "maximum"))


def lock_owner(owner_id: int) -> None:
    """Let the other transactions that check a limit of this user wait until this one ends.

    Call it before any other row is locked, so that no two transactions wait for each other.
    """
    # Inserting a row that refers to the user does not wait for this lock.
    list(User.objects.select_for_update(no_key=True).filter(pk=owner_id).values_list("pk"))


def require(owner: User, *wanted: Limit, adding: int = 1) -> None:
    """Raise LimitReachedError unless `adding` more are allowed; in a transaction that adds them."""
    lock_owner(owner.pk)
    names = [limit.name for limit in wanted]
    rows = LimitOverride.objects.filter(user=owner, name__in=names)
    overrides = dict(rows.values_list("name", "maximum"))
    for limit in wanted:
        used, allowed = limit.count(owner.pk), overrides.get(limit.name, _default(limit))
        if used + adding > allowed:
            raise LimitReachedError(limit, owner, used, allowed)


def used_and_allowed(owner_id: int, limit: Limit) -> tuple[int, int]:
    """For an early refusal. The addition itself must call `require`."""
    return limit.count(owner_id), maximum(limit, owner_id)


def has_room(owner_id: int, limit: Limit) -> bool:
    used, allowed = used_and_allowed(owner_id, limit)
    return used < allowed


def count_running_jobs(owner_ids: Collection[int]) -> dict[int, int]:
    """The number of running jobs by owner; owners without any are omitted."""
    rows = Job.objects.filter(owner__in=owner_ids, status=Status.RUNNING, reported=False)
    counted = rows.order_by().values("owner_id").annotate(count=Count("pk"))
    return dict(counted.values_list("owner_id", "count"))


def owners_at_running_limit() -> set[int]:
    rows = Job.objects.filter(status=Status.RUNNING, reported=False)
    running = count_running_jobs(set(rows.order_by().values_list("owner", flat=True).distinct()))
    allowed = maximums(RUNNING_JOBS, running)
    return {owner for owner, count in running.items() if count >= allowed[owner]}


@contextmanager
def importing(owner: User) -> Iterator[None]:
    """Count an import as under way inside the block, over all web processes."""
    with transaction.atomic():
        require(owner, IMPORTS)
        row = ImportInProgress.objects.create(user=owner, started_at=Now())
    try:
        yield
    finally:
        expired = ImportInProgress.objects.filter(started_at__lt=Now() - IMPORT_EXPIRES)
        (expired | ImportInProgress.objects.filter(pk=row.pk)).delete()


_lock = threading.Lock()
_holds: Counter[tuple[int, str]] = Counter()


class Hold:
    """A slot that is occupied in this process until `release` is called."""

    def __init__(self, owner: User, limit: Limit) -> None:
        allowed, self._key = maximum(limit, owner.pk), (owner.pk, limit.name)
        with _lock:
            used = _holds[self._key]
            if used >= allowed:
                raise LimitReachedError(limit, owner, used, allowed)
            _holds[self._key] += 1
        self._is_held = True

    def release(self) -> None:
        with _lock:
            if self._is_held:
                self._is_held = False
                _holds[self._key] -= 1
                if not _holds[self._key]:
                    del _holds[self._key]


@contextmanager
def hold(owner: User, limit: Limit) -> Iterator[None]:
    held = Hold(owner, limit)
    try:
        yield
    finally:
        held.release()


def format_bytes(value: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value} B"
