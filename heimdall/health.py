"""Health endpoints for load balancers and operators."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F, Min, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from kombu import Connection

from training.models import Job, Worker
from training.models.expressions import UNSENT
from training.models.states import Status
from training.workers import registry as workers

BROKER_SECONDS = 2


def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """200 if database and broker are available, else 503; the body has details."""
    database, counts = _database()
    broker = _broker()
    ready = database == "ok" and broker in {"ok", "embedded"}
    body = {"ready": ready, "database": database, "broker": broker, **counts}
    return JsonResponse(body, status=200 if ready else 503)


def _database() -> tuple[str, dict[str, Any]]:
    try:
        running = Job.objects.filter(status=Status.RUNNING)
        unsent = Job.objects.filter(UNSENT)
        oldest = running.aggregate(oldest=Min("heartbeat_at"))["oldest"]
        return "ok", {
            "queued": Job.objects.filter(status=Status.QUEUED).count(),
            "running": running.count(),
            "workers": Worker.objects.exclude(workers.stale()).count(),
            "workers_lost": Worker.objects.filter(workers.stale()).count(),
            "workers_at_work": running.values("worker").distinct().count(),
            "oldest_heartbeat_seconds": oldest and (timezone.now() - oldest).total_seconds(),
            "outbox_events": unsent.aggregate(events=Sum(F("seq") - F("sent_seq")))["events"] or 0,
            "outbox_jobs": unsent.count(),
        }
    except DatabaseError as error:
        connection.close()
        return f"{type(error).__name__}: {error}".splitlines()[0], {}


def _broker() -> str:
    if settings.EMBEDDED:
        return "embedded"
    options = {"read_timeout": BROKER_SECONDS, "write_timeout": BROKER_SECONDS}
    connection_to_broker = Connection(
        settings.RABBITMQ_URL, connect_timeout=BROKER_SECONDS, transport_options=options
    )
    try:
        connection_to_broker.connect()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection_to_broker.release()
    return "ok"
