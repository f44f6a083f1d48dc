"""The Celery application, and what a worker does when it starts and when it is told to end."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, worker_ready, worker_shutdown, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")

app = Celery("heimdall")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Threads too: the message of a new job is sent from one.
app.set_default()
app.autodiscover_tasks()

_keepers: list[Any] = []


@celeryd_init.connect
def refuse_to_start(**_: Any) -> None:
    """A worker without a broker would wait for ever."""
    from django.conf import settings

    from heimdall import checks

    checks.refuse_to_start()
    if settings.EMBEDDED:
        raise SystemExit(
            "RABBITMQ_URL is not set: the web process trains by itself (`manage.py serve`). "
            "Set it for both to use workers."
        )


@worker_ready.connect
def start_keeper(sender: Any, **_: Any) -> None:
    from training.keeper import Keeper

    keeper = Keeper(str(sender.hostname), int(sender.controller.concurrency))
    _keepers.append(keeper)
    keeper.start()


@worker_shutting_down.connect
def hand_jobs_back(**_: Any) -> None:
    """On SIGTERM: every attempt ends its trainer and queues its job for another worker."""
    from training.supervisor import leaving

    leaving.set()


@worker_shutdown.connect
def stop_keeper(**_: Any) -> None:
    from training.publishing import publisher

    while _keepers:
        _keepers.pop().stop()
    publisher().stop(timeout=5)
