"""The webhook sender is killed between claim and response."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.faults.results_table import Tally, scaled
from tests.integration.training.webhooks.receiver import Receiver, receiver
from tests.polling import eventually
from tests.stack import Stack

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(300)]

# The claim of a killed sender only ends when it expires, which the test accelerates.
EXPIRE_CLAIM = """UPDATE training_delivery SET claimed_until = '2020-01-01'
             WHERE attempts = 1 AND status = 'pending' AND claimed_until IS NOT NULL"""


def delivered(stack: Stack, hook: str) -> dict[str, Any] | None:
    """The newest delivery, once it is delivered."""
    with stack.api() as api:
        newest = api.get(f"{hook}/deliveries").json()["results"][0]
    return newest if newest["status"] == "delivered" else None


def killed_between_claim_and_answer(stack: Stack, there: Receiver, hook: str) -> None:
    assert stack.web is not None
    there.got.clear()
    there.opens.clear()
    with stack.api() as api:
        sent = api.post(f"{hook}/test").json()
    eventually(lambda: there.got)
    os.killpg(stack.web.pid, signal.SIGKILL)
    stack.web.wait()
    there.opens.set()
    with sqlite3.connect(stack.folder / "heimdall.sqlite3", timeout=20) as rows:
        assert rows.execute(EXPIRE_CLAIM).rowcount == 1
    stack.start_web()
    delivered_event = eventually(lambda: delivered(stack, hook))
    assert (
        delivered_event["id"],
        delivered_event["attempts"],
        delivered_event["response_code"],
    ) == (sent["id"], 2, 204)
    # The first request may have been accepted: both have the same ID, so the receiver can skip one.
    ids = [headers["webhook-id"] for _, headers, _ in there.got]
    assert ids == [sent["message_id"]] * 2


def test_delivery_claimed_by_a_killed_process_is_retried_and_logged(
    tmp_path: Path, tally: Tally
) -> None:
    stack = Stack(tmp_path, HEIMDALL_WEBHOOK_ALLOW_PRIVATE="1")
    try:
        stack.start_web()
        with receiver() as there:
            with stack.api() as api:
                wanted = {"url": there.url, "events": ["job.completed"]}
                hook = f"/webhooks/{api.post('/webhooks', json=wanted).json()['id']}"
            for _ in range(times := scaled(1, 5)):
                killed_between_claim_and_answer(stack, there, hook)
        tally("sender of webhooks, kill -9 before the answer", times)
    finally:
        stack.close()
