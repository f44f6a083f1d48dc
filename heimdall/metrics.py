"""`/metrics` for Prometheus: what this process counts, and what the rows say at the moment.

No query counts a whole table: what waits and runs is counted up to a bound, what ended within the
last hour through the index on `updated_at`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db import DatabaseError, connection
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

HTTP = Histogram(
    "heimdall_http_seconds",
    "How long requests took.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
MAX_ROWS = 10_000


class Rows(Collector):
    """Gauges from the database, the same in every web process."""

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: registering asks no database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("heimdall_database_up", "1 where the database answers.")
        try:
            found = [*_jobs(), *_workers(), *_outbox()]
        except DatabaseError:
            connection.close()
            found = []
        up.add_metric([], float(bool(found)))
        yield up
        yield from found


def _count_up_to(rows: QuerySet) -> int:  # type: ignore[type-arg]
    return len(rows.order_by().values_list("pk")[:MAX_ROWS])


def _jobs() -> Iterator[GaugeMetricFamily]:
    from training.models import Job
    from training.models.states import Needs, Status

    active = GaugeMetricFamily(
        "heimdall_jobs",
        f"Jobs that wait, run or rest; counted up to {MAX_ROWS}.",
        labels=["status"],
    )
    for status in (Status.RUNNING, Status.PAUSED):
        active.add_metric([status], _count_up_to(Job.objects.filter(status=status)))
    queue = GaugeMetricFamily("heimdall_queue_jobs", "Queued jobs, by need.", labels=["needs"])
    queued = Job.objects.filter(status=Status.QUEUED)
    by_need = {need: _count_up_to(queued.filter(needs=need)) for need in Needs.values}
    for need, count in by_need.items():
        queue.add_metric([need], count)
    active.add_metric([Status.QUEUED], sum(by_need.values()))
    ended = GaugeMetricFamily(
        "heimdall_jobs_ended_last_hour", "Jobs that ended within an hour.", labels=["status"]
    )
    lately = Job.objects.filter(updated_at__gt=Now() - timedelta(hours=1)).order_by()
    counts = dict(lately.values_list("status").annotate(count=Count("pk")))
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        ended.add_metric([status], counts.get(status, 0))
    yield from (active, queue, ended)


def _workers() -> Iterator[GaugeMetricFamily]:
    from training.workers.registry import list_workers

    workers = GaugeMetricFamily("heimdall_workers", "Workers, by state.", labels=["state"])
    slots = GaugeMetricFamily("heimdall_worker_slots", "Jobs that all workers train at once.")
    hands = list_workers()
    for state in ("busy", "idle", "lost"):
        workers.add_metric([state], sum(hand.state == state for hand in hands))
    slots.add_metric([], sum(hand.slots for hand in hands if hand.state != "lost"))
    yield from (workers, slots)


def _outbox() -> Iterator[GaugeMetricFamily]:
    from training.events.store import UNSENT
    from training.models import Job

    waiting = Job.objects.filter(UNSENT).order_by("pk")[:MAX_ROWS]
    depth = waiting.aggregate(events=Sum(F("seq") - F("sent_seq")))["events"] or 0
    yield GaugeMetricFamily("heimdall_outbox_events", "Events not yet sent.", value=depth)


REGISTRY.register(Rows())


def metrics(request: HttpRequest) -> HttpResponse:
    """In the text format; numbers alone, no name of a person or a job."""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
