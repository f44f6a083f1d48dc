"""A small sweep on real parts, with RabbitMQ and without, and a webhook that hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.training.webhooks.receiver import Receiver, receiver
from tests.polling import eventually
from tests.served import served
from tests.stack import SMALL, Stack

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def sweep(running: Stack, there: Receiver, **sent: Any) -> dict[str, Any]:
    """A sweep of three trials, at its end."""
    with running.api() as api:
        hook = api.post("/webhooks", json={"url": there.url, "events": [
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


def heard(there: Receiver) -> list[str]:
    return sorted({body.split(b'"')[3].decode() for _, _, body in there.got})


def all_of_it(running: Stack, there: Receiver) -> None:
    done = sweep(running, there, method="tpe")
    assert (done["status"], done["counts"]) == ("completed", {"completed": 3})
    assert done["best"]["value"] == min(one["value"] for one in done["trials"])
    assert len({one["parameters"]["learning_rate"] for one in done["trials"]}) == 3
    eventually(lambda: heard(there) == ["job.completed", "sweep.completed", "sweep.started"])
    assert len({headers["webhook-id"] for _, headers, _ in there.got}) == 5


def test_embedded(tmp_path: Path, there: Receiver) -> None:
    with served(tmp_path, HEIMDALL_WEBHOOK_ALLOW_PRIVATE="1") as running:
        all_of_it(running, there)


@pytest.mark.rabbit
def test_on_rabbitmq_and_postgresql_with_two_workers(
    tmp_path: Path, amqp: str, there: Receiver
) -> None:
    with served(tmp_path, amqp, workers=2, HEIMDALL_WEBHOOK_ALLOW_PRIVATE="1") as running:
        all_of_it(running, there)
