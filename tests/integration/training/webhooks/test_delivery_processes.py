"""Any number of senders: each delivery is one's, and nobody waits for another."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from tests.integration.training.webhooks.receiver import Receiver
from training.models.webhooks import Delivery, Webhook
from training.webhooks import delivery, http_client, outbox, service
from training.webhooks.delivery import DeliveryThread, claim_delivery, send_delivery


@pytest.mark.django_db(transaction=True)
def test_only_one_of_many_senders_claims_a_delivery(webhook: Webhook) -> None:
    outbox.send_test(webhook)

    def one(_: int) -> bool:
        try:
            return claim_delivery(webhook) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(6))) == 1


def test_delivery_of_a_dead_sender_is_sent_by_another(webhook: Webhook, there: Receiver) -> None:
    outbox.send_test(webhook)
    lost = claim_delivery(webhook) or pytest.fail("nothing is due")
    assert claim_delivery(webhook) is None
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    send_delivery(claim_delivery(webhook) or pytest.fail("nothing is due"))
    assert Delivery.objects.get().status == "delivered"
    delivery.record_result(lost, http_client.WebhookResponse(None, "late", 1))
    assert Delivery.objects.get().status == "delivered"


@pytest.mark.django_db(transaction=True)
def test_hanging_receiver_does_not_delay_other_webhooks(
    webhook: Webhook, ada: User, there: Receiver, settings: Any
) -> None:
    settings.MAINTENANCE_SECONDS = 0.02
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        hangs = service.create_webhook(ada, service.CreateWebhook(url=url, events=["job.failed"]))
        for _ in range(5):
            outbox.send_test(hangs)
            outbox.send_test(webhook)
        thread = DeliveryThread()
        thread.start()
        until = time.monotonic() + 30
        while Delivery.objects.filter(webhook=webhook, status="pending").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert Delivery.objects.filter(webhook=hangs, status="pending").count() == 5
        silent.close()
        thread.stop()
        while thread._in_flight and time.monotonic() < until:
            time.sleep(0.05)
            thread._in_flight = {one: pk for one, pk in thread._in_flight.items() if not one.done()}
    assert len(there.got) == 5
