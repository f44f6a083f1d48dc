"""`/metrics` for Prometheus: counters of this process and gauges from the database.

No query counts a whole table: active jobs are counted up to a limit, jobs that ended within the
last hour through the index on `updated_at`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

HTTP = Histogram(
    "heimdall_http_seconds",
    "Duration of HTTP requests.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
MAX_ROWS = 10_000


class DatabaseCollector(Collector):
    """Gauges from the database, the same in every web process."""

    def describe(self) -> list[GaugeMetricFamily]:
        # Without this, registering would call collect() and so query the database.
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("heimdall_database_up", "1 if the database is available.")
        try:
            families = [*_jobs(), *_workers(), *_outbox(), *_disk()]
        except DatabaseError:
            connection.close()
            families = []
        up.add_metric([], float(bool(families)))
        yield up
        yield from families


def _count_up_to(rows: QuerySet) -> int:  # type: ignore[type-arg]
    return len(rows.order_by().values_list("pk")[:MAX_ROWS])


def _jobs() -> Iterator[GaugeMetricFamily]:
    from training.models import Job
    from training.models.states import Needs, Status

    active = GaugeMetricFamily(
        "heimdall_jobs",
        f"Queued, running and paused jobs; counted up to {MAX_ROWS}.",
        labels=["status"],
    )
    for status in (Status.RUNNING, Status.PAUSED):
        active.add_metric([status], _count_up_to(Job.objects.filter(status=status)))
    queue = GaugeMetricFamily(
        "heimdall_queue_jobs", "Queued jobs by required hardware.", labels=["needs"]
    )
    queued = Job.objects.filter(status=Status.QUEUED)
    by_need = {need: _count_up_to(queued.filter(needs=need)) for need in Needs.values}
    for need, count in by_need.items():
        queue.add_metric([need], count)
    active.add_metric([Status.QUEUED], sum(by_need.values()))
    ended = GaugeMetricFamily(
        "heimdall_jobs_ended_last_hour", "Jobs that ended within the last hour.", labels=["status"]
    )
    recent = Job.objects.filter(updated_at__gt=Now() - timedelta(hours=1)).order_by()
    counts = dict(recent.values_list("status").annotate(count=Count("pk")))
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        ended.add_metric([status], counts.get(status, 0))
    yield from (active, queue, ended)


def _workers() -> Iterator[GaugeMetricFamily]:
    from training.workers.registry import list_workers

    workers = GaugeMetricFamily("heimdall_workers", "Workers by state.", labels=["state"])
    slots = GaugeMetricFamily(
        "heimdall_worker_slots", "Number of jobs that the workers can run at a time."
    )
    rows = list_workers()
    for state in ("busy", "idle", "lost"):
        workers.add_metric([state], sum(row.state == state for row in rows))
    slots.add_metric([], sum(row.slots for row in rows if row.state != "lost"))
    yield from (workers, slots)


def _outbox() -> Iterator[GaugeMetricFamily]:
    from training.models import Job
    from training.models.expressions import UNSENT

    unsent = Job.objects.filter(UNSENT).order_by("pk")[:MAX_ROWS]
    depth = unsent.aggregate(events=Sum(F("seq") - F("sent_seq")))["events"] or 0
    yield GaugeMetricFamily(
        "heimdall_outbox_events", "Events that the broker has not confirmed.", value=depth
    )


def _disk() -> Iterator[GaugeMetricFamily]:
    from training.models import RetentionState
    from training.storage import disk_usage

    used = GaugeMetricFamily(
        "heimdall_disk_used_bytes",
        "Files of datasets and jobs, other files of the data folder, and the database, as the "
        "last run of retention measured them.",
        labels=["kind"],
    )
    finished = GaugeMetricFamily(
        "heimdall_retention_finished_seconds", "When retention last ended, in seconds since 1970."
    )
    state = RetentionState.objects.filter(finished_at__isnull=False).first()
    if state is not None and state.finished_at is not None:
        for kind, size in state.sizes.items():
            used.add_metric([kind], size)
        finished.add_metric([], state.finished_at.timestamp())
    tables = GaugeMetricFamily(
        "heimdall_table_bytes", "Tables of PostgreSQL with their indexes.", labels=["table"]
    )
    for table, size in disk_usage.table_bytes().items():
        tables.add_metric([table], size)
    yield from (used, finished, tables)
    disk = shutil.disk_usage(settings.DATA_DIR)
    yield GaugeMetricFamily(
        "heimdall_disk_free_bytes", "Free space of the data folder's disk.", value=disk.free
    )
    yield GaugeMetricFamily(
        "heimdall_disk_size_bytes", "Size of the data folder's disk.", value=disk.total
    )


REGISTRY.register(DatabaseCollector())


@csrf_exempt  # otherwise other methods would get Django's CSRF page
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Public, so it contains no names of users or jobs."""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
