"""A worker outlives every loss of the broker."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from celery.worker import state
from celery.worker.consumer.consumer import CLOSE
from kombu.exceptions import OperationalError

from heimdall.celery import app
from heimdall.celery_consumer import ReconnectingConsumer


def make_consumer(**options: Any) -> ReconnectingConsumer:
    controller = Mock(use_eventloop=True)
    return ReconnectingConsumer(Mock(), app=app, hostname="w@h", controller=controller, **options)


def test_worker_is_run_by_this_consumer() -> None:
    assert app.conf.worker_consumer == "heimdall.celery_consumer:ReconnectingConsumer"


def test_broker_lost_while_a_worker_announces_itself_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kombu raises it in the middle of the start, after the connection was established."""
    monkeypatch.setattr(state, "should_stop", None)
    consumer = make_consumer()
    starts: list[int] = []

    def start(_: object) -> None:
        starts.append(len(starts))
        if len(starts) < 3:
            raise OperationalError("[Errno 111] Connection refused")
        consumer.blueprint.state = CLOSE

    monkeypatch.setattr(consumer.blueprint, "start", start)
    monkeypatch.setattr(consumer.blueprint, "restart", lambda _: None)
    consumer.start()
    assert starts == [0, 1, 2]


def test_workers_do_not_wait_for_each_other_at_start() -> None:
    consumer = make_consumer(worker_options={"without_mingle": False})
    names = [step.name for step in consumer.steps]
    assert not [name for name in names if name.endswith((".Mingle", ".Gossip"))]
    assert [name for name in names if name.endswith(".Tasks")]
