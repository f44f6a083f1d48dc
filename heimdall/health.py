"""Health endpoints for load balancers and operators."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F, Min, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from kombu import Connection

from realtime.amqp_url import parse_amqp_url
from training.models import Job, Worker
from training.models.expressions import UNSENT
from training.models.states import Status
from training.request_thread import release_database
from training.storage.disk_usage import free_bytes
from training.workers import registry as workers

BROKER_SECONDS = 2
BROKER_CHECK_SECONDS = 1.0
# SQLite and a checkpoint need a few megabytes to fail in an orderly way.
MIN_FREE_BYTES = 16 << 20
PROBE_BYTES = 4096


@csrf_exempt
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if database, broker and data folder are available, else 503; the body has details."""
    database, counts = _database()
    broker, disk = _broker(), _disk()
    ready = database == disk == "ok" and broker in {"ok", "embedded"}
    failing = {} if disk == "ok" else {"disk": disk}
    body = {"ready": ready, "database": database, "broker": broker, **failing, **counts}
    return JsonResponse(body, status=200 if ready else 503)


def _database() -> tuple[str, dict[str, float | None]]:
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


def _disk() -> str:
    """Whether the data folder can be written."""
    folder = Path(settings.DATA_DIR)
    try:
        if (free := free_bytes()) < MIN_FREE_BYTES:
            return f"full: {free:,} bytes are free"
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
    except OSError as error:
        return f"{error.strerror or error}"
    return "ok"


class _BrokerCheck:
    """The state of the broker, asked for at most once a second, however often we are asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checked_at = -math.inf
        self._url, self._state = "", ""

    def state(self) -> str:
        url: str | None = settings.RABBITMQ_URL
        if url is None:
            return "embedded"
        if url == self._url and time.monotonic() < self._checked_at + BROKER_CHECK_SECONDS:
            return self._state
        # While another request waits for the broker, use the previous answer.
        if self._lock.acquire(blocking=url != self._url):
            try:
                release_database()
                self._url, self._state = url, _check_broker(url)
                self._checked_at = time.monotonic()
            finally:
                self._lock.release()
        return self._state


_broker = _BrokerCheck().state


def _check_broker(url: str) -> str:
    options = {"read_timeout": BROKER_SECONDS, "write_timeout": BROKER_SECONDS}
    address = parse_amqp_url(url)
    connection_to_broker = Connection(
        address.url,
        ssl=address.kombu_ssl(),
        connect_timeout=BROKER_SECONDS,
        transport_options=options,
    )
    try:
        connection_to_broker.connect()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection_to_broker.release()
    return "ok"
