"""Concurrent senders: each delivery is sent by one, and none waits for another."""

from __future__ import annotations

import json
import socket
import time
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from tests.integration.training.webhooks.receiver import Receiver
from tests.polling import eventually
from tests.stack import Stack, new_database
from training.models.webhooks import Delivery, Webhook
from training.webhooks import delivery, http_client, outbox, service
from training.webhooks.delivery import (
    FAILING_SLOTS_PER_OWNER,
    SLOTS_PER_OWNER,
    DeliveryThread,
    claim_delivery,
    send_delivery,
)


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


def test_delivery_of_a_killed_sender_is_sent_by_another(webhook: Webhook, there: Receiver) -> None:
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
        futures.wait(thread.in_flight(), timeout=30)
    assert len(there.got) == 5


@pytest.mark.django_db(transaction=True)
def test_hanging_webhooks_of_one_user_do_not_delay_those_of_another(
    ada: User, bob: User, there: Receiver, settings: Any
) -> None:
    settings.MAINTENANCE_SECONDS = 0.02
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        for _ in range(45):
            hangs = service.CreateWebhook(url=url, events=["job.failed"])
            outbox.send_test(service.create_webhook(bob, hangs))
        thread = DeliveryThread()
        thread.start()
        eventually(lambda: Delivery.objects.filter(attempts=1).count() >= SLOTS_PER_OWNER)
        own = service.create_webhook(
            ada, service.CreateWebhook(url=there.url, events=["job.failed"])
        )
        outbox.send_test(own)
        eventually(lambda: there.got)
        attempted = Delivery.objects.filter(webhook__owner=bob, attempts=1)
        # None of bob's attempts has ended yet: ada's was sent concurrently.
        assert attempted.count() == SLOTS_PER_OWNER
        silent.close()
        thread.stop()
        futures.wait(thread.in_flight(), timeout=30)


@pytest.mark.django_db(transaction=True)
def test_failing_webhooks_have_separate_slots(ada: User, there: Receiver, settings: Any) -> None:
    settings.MAINTENANCE_SECONDS = 0.02
    there.opens.clear()
    for _ in range(6):
        failing = service.CreateWebhook(url=there.url, events=["job.failed"])
        webhook = service.create_webhook(ada, failing)
        Webhook.objects.filter(pk=webhook.pk).update(failures=1)
        outbox.send_test(webhook)
    thread = DeliveryThread()
    thread.start()
    eventually(lambda: len(there.got) >= FAILING_SLOTS_PER_OWNER)
    healthy = service.create_webhook(
        ada, service.CreateWebhook(url=f"{there.url}/well", events=["job.failed"])
    )
    outbox.send_test(healthy)
    eventually(lambda: "/well" in [path for path, _, _ in there.got])
    assert len(there.got) == FAILING_SLOTS_PER_OWNER + 1
    there.opens.set()
    eventually(lambda: len(there.got) == 7)
    thread.stop()
    futures.wait(thread.in_flight(), timeout=30)


def test_webhook_has_one_attempt_at_a_time_over_all_processes(webhook: Webhook) -> None:
    for _ in range(2):
        outbox.send_test(webhook)
    first = claim_delivery(webhook) or pytest.fail("nothing is due")
    assert claim_delivery(webhook) is None
    delivery.record_result(first, http_client.WebhookResponse(204, "", 1))
    assert claim_delivery(webhook) is not None


CLAIMS = """
import threading, django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from training.webhooks import outbox, service
from training.webhooks.delivery import claim_delivery

ada = User.objects.get(username="ada")
hook = service.CreateWebhook(url="https://example.org/", events=["job.failed"])
webhooks = [service.create_webhook(ada, hook) for _ in range(4)]
for webhook in webhooks * 5:
    outbox.send_test(webhook)
barrier, claimed = threading.Barrier(16), []
def claim(number):
    barrier.wait()
    if delivery := claim_delivery(webhooks[number % 4]):
        claimed.append(delivery.webhook_id)
    connection.close()
threads = [threading.Thread(target=claim, args=[number]) for number in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(claimed), len(set(claimed)))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_concurrent_senders_claim_one_delivery_of_each_webhook(
    database: str, tmp_path: Path
) -> None:
    with new_database() if database == "postgres" else nullcontext("") as url:
        if database == "postgres" and not url:
            pytest.skip("needs PostgreSQL")
        found = Stack(tmp_path, database=url).python("-c", CLAIMS)
    claimed, distinct = map(int, found.split()[-2:])
    assert claimed == distinct
    # SKIP LOCKED: a webhook may be passed over while another sender looks at it.
    assert 1 <= claimed <= 4


def test_deliveries_of_an_inactive_user_are_not_tried(webhook: Webhook, ada: User) -> None:
    outbox.send_test(webhook)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert delivery.due_owners(Q()) == []
    assert claim_delivery(webhook) is None
    User.objects.filter(pk=ada.pk).update(is_active=True)
    assert delivery.due_owners(Q()) == [ada.pk]


def test_delivery_in_progress_cannot_be_resent(webhook: Webhook) -> None:
    sent = outbox.send_test(webhook)
    first = claim_delivery(webhook) or pytest.fail("nothing is due")
    with pytest.raises(outbox.AttemptInProgressError):
        outbox.redeliver(sent)
    delivery.record_result(first, http_client.WebhookResponse(500, "broken", 1))
    outbox.redeliver(sent)
    second = claim_delivery(webhook) or pytest.fail("nothing is due")
    assert (second.attempts, second.attempts_before) == (2, 1)
    # The schedule restarts, and the late result of the first attempt changes nothing.
    delivery.record_result(first, http_client.WebhookResponse(204, "", 1))
    assert Delivery.objects.get(pk=sent.pk).status == "pending"


DELETIONS = """
import json, threading
from concurrent.futures import ThreadPoolExecutor
import django
django.setup()
from django.contrib.auth.models import User
from django.db import connection, transaction
from training.jobs import lifecycle
from training.localization.config import GenerateConfig
from training.models import Job
from training.models.webhooks import Delivery, Webhook
from training.webhooks import outbox, service
ada = User.objects.get(username="ada")
hook = service.CreateWebhook(url="https://example.org/", events=["job.cancelled"])

def closing(act):
    def run():
        try:
            act()
        finally:
            connection.close()
    return run

def change_and_delete(deletion_first):
    service.create_webhook(ada, hook)
    job = lifecycle.submit_generation(ada, "Made", GenerateConfig(samples=50))
    first_is_done, second_begins = threading.Event(), threading.Event()
    def change():
        lifecycle.request_cancel(job, "ada")
    def delete():
        service.delete_webhook(Webhook.objects.get())
    def first():
        with transaction.atomic():
            (delete if deletion_first else change)()
            first_is_done.set()
            second_begins.wait(20)
            # The second one waits for this transaction, or has ended before it.
            second_ended.wait(1)
    def second():
        first_is_done.wait(20)
        second_begins.set()
        (change if deletion_first else delete)()
        second_ended.set()
    second_ended = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(closing(act)) for act in (first, second)]:
            run.result()
    job.refresh_from_db()
    return [job.status, Webhook.objects.count(), Delivery.objects.count()]

print(json.dumps([change_and_delete(first) for first in (False, True)]))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_deleting_a_webhook_does_not_roll_back_a_change_of_a_job(
    database: str, tmp_path: Path
) -> None:
    with new_database() if database == "postgres" else nullcontext("") as url:
        if database == "postgres" and not url:
            pytest.skip("needs PostgreSQL")
        found = Stack(tmp_path, database=url).python("-c", DELETIONS)
    assert json.loads(found.splitlines()[-1]) == [["cancelled", 0, 0]] * 2
