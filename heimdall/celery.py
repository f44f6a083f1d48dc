"""The Celery application and the start and shutdown of its workers."""

from __future__ import annotations

import os
import secrets
from typing import Any

from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.signals import celeryd_init, worker_ready, worker_shutdown, worker_shutting_down
from celery.utils.nodenames import default_nodename, gethostname

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
    from heimdall.database import check_database

    checks.refuse_to_start()
    if settings.EMBEDDED:
        raise SystemExit(
            "RABBITMQ_URL is not set: in the embedded mode the web process trains, and a separate "
            "worker would wait forever. Set RABBITMQ_URL for web and workers, or run "
            "`manage.py serve` alone."
        )
    if problem := check_database():
        raise SystemExit(problem)


@celeryd_init.connect
def make_name_unique(sender: str, instance: Any, **_: Any) -> None:
    """Give each worker without `--hostname` a unique name, also several on one machine."""
    if sender == default_nodename(None):
        instance.hostname = f"celery-{secrets.token_hex(3)}@{gethostname()}"
        # Celery has done this with the previous name: it is the name that tasks see.
        setup_worker_optimizations(app, instance.hostname)


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
