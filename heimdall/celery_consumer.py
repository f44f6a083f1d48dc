"""The part of a Celery worker that keeps its connection to the broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.worker import consumer
from kombu.exceptions import OperationalError


class ReconnectingConsumer(consumer.Consumer):
    """Reconnects after each connection error; Celery's ends the worker after some of them.

    While a worker connects, it publishes messages. Kombu raises its own OperationalError if the
    broker is lost at that moment, which Celery takes for a programming error.
    """

    def __init__(
        self, *args: Any, worker_options: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        # Workers are listed in the database. Synchronizing with each other takes a second at start.
        quiet = {**(worker_options or {}), "without_mingle": True, "without_gossip": True}
        super().__init__(*args, worker_options=quiet, **options)
        self.connection_errors = (*self.conninfo.connection_errors, OperationalError)
