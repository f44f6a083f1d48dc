"""A small sweep in real processes, with RabbitMQ and without, and its webhook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.training.webhooks.receiver import Receiver, receiver
from tests.polling import eventually
from tests.stack import SMALL, Stack, running_stack

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def webhook_receiver() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def run_sweep(running: Stack, webhook_receiver: Receiver, **sent: Any) -> dict[str, Any]:
    """Run a sweep of three trials to its end."""
    with running.api() as api:
        hook = api.post("/webhooks", json={"url": webhook_receiver.url, "events": [
            "sweep.started", "job.completed", "sweep.completed"]})  # fmt: skip
        assert hook.status_code == 201, hook.text
        body = {
            "name": "Rates", "dataset_id": running.dataset, "config": {**SMALL, "epochs": 3},
            "space": {"learning_rate": {"min": 1e-3, "max": 1e-2, "log": True}}, "trials": 3,
            **sent,
        }  # fmt: skip
        made = api.post("/sweeps", json=body)
        assert made.status_code == 201, made.text
        path = f"/sweeps/{made.json()['id']}"
        eventually(lambda: api.get(path).json()["status"] != "running", 180)
        return dict(api.get(path).json())


def received_types(webhook_receiver: Receiver) -> list[str]:
    return sorted({body.split(b'"')[3].decode() for _, _, body in webhook_receiver.got})


def check_sweep(running: Stack, webhook_receiver: Receiver) -> None:
    done = run_sweep(running, webhook_receiver, method="tpe")
    assert (done["status"], done["counts"]) == ("completed", {"completed": 3})
    assert done["best"]["value"] == min(trial["value"] for trial in done["trials"])
    assert len({trial["parameters"]["learning_rate"] for trial in done["trials"]}) == 3
    eventually(
        lambda: (
            received_types(webhook_receiver)
            == ["job.completed", "sweep.completed", "sweep.started"]
        )
    )
    assert len({headers["webhook-id"] for _, headers, _ in webhook_receiver.got}) == 5


def test_sweep_completes_in_embedded_mode(tmp_path: Path, webhook_receiver: Receiver) -> None:
    with running_stack(tmp_path, HEIMDALL_WEBHOOK_ALLOW_PRIVATE="1") as running:
        check_sweep(running, webhook_receiver)


@pytest.mark.rabbit
def test_sweep_completes_on_two_workers(
    tmp_path: Path, amqp: str, webhook_receiver: Receiver
) -> None:
    with running_stack(tmp_path, amqp, workers=2, HEIMDALL_WEBHOOK_ALLOW_PRIVATE="1") as running:
        check_sweep(running, webhook_receiver)
