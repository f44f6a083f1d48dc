"""The Celery application and the start and shutdown of its workers."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, worker_ready, worker_shutdown, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")

app = Celery("heimdall")
app.config_from_object("django.conf:settings", namespace="CELERY")
# For all threads: some of them send the message of a new job.
app.set_default()
app.autodiscover_tasks()

_maintenance_threads: list[Any] = []


@celeryd_init.connect
def refuse_to_start(**_: Any) -> None:
    from django.conf import settings

    from heimdall import checks

    checks.refuse_to_start()
    if settings.EMBEDDED:
        raise SystemExit(
            "RABBITMQ_URL is not set: in the embedded mode the web process trains, and a separate "
            "worker would wait forever. Set RABBITMQ_URL for web and workers, or run "
            "`manage.py serve` alone."
        )


@worker_ready.connect
def start_maintenance(sender: Any, **_: Any) -> None:
    from training.workers.maintenance import MaintenanceThread

    maintenance = MaintenanceThread(str(sender.hostname), int(sender.controller.concurrency))
    _maintenance_threads.append(maintenance)
    maintenance.start()


@worker_shutting_down.connect
def release_jobs(**_: Any) -> None:
    """On SIGTERM, every attempt stops its trainer and requeues its job for another worker."""
    from training.workers.supervisor import shutting_down

    shutting_down.set()


@worker_shutdown.connect
def stop_maintenance(**_: Any) -> None:
    from training.events.publisher import get_publisher

    while _maintenance_threads:
        _maintenance_threads.pop().stop()
    get_publisher().stop(timeout=5)
