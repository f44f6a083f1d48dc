"""From a change of a job to a signed POST to a real server, accepted or rejected."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from tests.integration.training.webhooks.receiver import Receiver
from training.jobs import attempts, lifecycle, results
from training.jobs.attempts import Attempt
from training.models import Job
from training.models.webhooks import Delivery, Webhook
from training.webhooks import http_client, outbox, service
from training.webhooks.delivery import (
    DISABLE_AFTER_FAILURES,
    RETRY_DELAYS_SECONDS,
    claim_delivery,
    send_delivery,
)
from training.webhooks.signing import sign


def attempt_one(webhook: Webhook) -> Delivery:
    """Claim and send what is due; the delivery as it is then."""
    delivery = claim_delivery(Webhook.objects.get(pk=webhook.pk)) or pytest.fail("nothing is due")
    send_delivery(delivery)
    return Delivery.objects.get(pk=delivery.pk)


def make_due() -> None:
    Delivery.objects.filter(status="pending").update(next_attempt_at=Now())


def test_subscribed_event_is_delivered_once_and_signed(
    webhook: Webhook, there: Receiver, job: Job, running_attempt: Attempt
) -> None:
    attempts.record_started(running_attempt, 10, 8, 2)
    results.fail_attempt(running_attempt, "It was not chosen.")
    lifecycle.resume(job, "ada")
    lifecycle.request_cancel(job, "ada", "no longer wanted")
    found = [
        (delivery.event, delivery.status) for delivery in Delivery.objects.order_by("created_at")
    ]
    assert found == [("job.started", "pending"), ("job.cancelled", "pending")]
    attempt_one(webhook)
    delivery = attempt_one(webhook)
    path, headers, body = there.got[1]
    assert path == "/hook?a=1"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == delivery.message_id
    signed = sign(webhook.secret, delivery.message_id, int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == signed
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    payload = json.loads(body)
    assert (payload["type"], payload["data"]["job_id"]) == ("job.cancelled", str(job.pk))
    assert payload["data"]["cancel_reason"] == "no longer wanted"
    assert (delivery.status, delivery.response_code, delivery.attempts) == ("delivered", 204, 1)
    assert claim_delivery(webhook) is None


def test_rolled_back_change_creates_no_delivery(webhook: Webhook, job: Job) -> None:
    with transaction.atomic():
        lifecycle.request_cancel(job, "ada")
        assert Delivery.objects.exists()
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()


def test_only_webhooks_of_owner_and_staff_get_a_delivery(
    webhook: Webhook, there: Receiver, bob: User, staff: User, job: Job
) -> None:
    for owner in (bob, staff):
        service.create_webhook(
            owner, service.CreateWebhook(url=there.url, events=["job.cancelled"])
        )
    lifecycle.request_cancel(job, "ada")
    owners = {delivery.webhook.owner.username for delivery in Delivery.objects.all()}
    assert owners == {"ada", "grace"}


def test_failed_delivery_is_retried_with_the_same_id_until_dead(
    webhook: Webhook, there: Receiver
) -> None:
    outbox.send_test(webhook)
    there.answers, there.body = [503], b"away"
    for number in range(1, len(RETRY_DELAYS_SECONDS) + 1):
        delivery = attempt_one(webhook)
        assert (delivery.status, delivery.attempts) == ("pending", number)
        assert delivery.next_attempt_at is not None
        assert delivery.next_attempt_at > timezone.now()
        assert claim_delivery(webhook) is None
        make_due()
    delivery = attempt_one(webhook)
    assert (delivery.status, delivery.response_code) == ("dead", 503)
    assert delivery.error == "The receiver answered 503. away"
    assert len({headers["webhook-id"] for _, headers, _ in there.got}) == 1
    there.answers = [200]
    outbox.redeliver(delivery)
    assert attempt_one(webhook).status == "delivered"


def test_redirect_is_not_followed(webhook: Webhook, there: Receiver) -> None:
    outbox.send_test(webhook)
    there.answers, there.more = [307], {"Location": f"{there.url}/elsewhere"}
    assert attempt_one(webhook).response_code == 307
    assert [path for path, _, _ in there.got] == ["/hook?a=1"]


def test_only_the_start_of_a_long_response_is_read(webhook: Webhook, there: Receiver) -> None:
    outbox.send_test(webhook)
    there.answers, there.body = [500], b"x" * 10_000_000
    assert len(attempt_one(webhook).error) <= 500


def test_slow_response_is_cut_off_at_the_total_deadline(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "TOTAL_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def trickle() -> None:
            line, _ = server.accept()
            with line:
                for _ in range(100):
                    try:
                        line.sendall(b"H")
                    except OSError:
                        return
                    time.sleep(0.05)

        pool.submit(trickle)
        answer = http_client.post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}")
    assert answer.code is None
    assert answer.error == "No complete response within 1 s."


def test_connecting_to_several_addresses_stops_at_the_total_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_client, "TOTAL_SECONDS", 0.5)
    monkeypatch.setattr(http_client, "resolve_addresses", lambda *_: ["192.0.2.1"] * 4)
    timeouts: list[float] = []

    def no_answer(address: tuple[str, int], timeout: float) -> socket.socket:
        timeouts.append(timeout)
        time.sleep(min(timeout, 0.2))
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", no_answer)
    answer = http_client.post("https://receiver.example/", {}, b"{}")
    assert answer.code is None
    assert answer.error == "No complete response within 0.5 s."
    assert len(timeouts) == 3
    assert timeouts[0] <= 0.5 and timeouts[-1] <= 0.1 + 0.01


def test_name_that_now_resolves_to_a_private_address_is_refused(
    webhook: Webhook, there: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = False
    Webhook.objects.update(url="https://rebinding.example/hook")
    resolved: list[str] = []

    def answers(host: str, *_: Any, **__: Any) -> list[Any]:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    outbox.send_test(webhook)
    delivery = attempt_one(webhook)
    assert "rebinding.example resolves to 127.0.0.1, which is not a public" in delivery.error
    assert resolved == ["rebinding.example"]
    assert there.got == []


def test_webhook_that_fails_for_a_day_is_disabled_with_the_reason(
    webhook: Webhook, there: Receiver
) -> None:
    there.answers = [500]
    Webhook.objects.update(failures=DISABLE_AFTER_FAILURES, failing_since=timezone.now())
    outbox.send_test(webhook)
    attempt_one(webhook)
    assert Webhook.objects.get().enabled
    Webhook.objects.update(failing_since=timezone.now() - timedelta(days=2))
    make_due()
    attempt_one(webhook)
    disabled = Webhook.objects.get()
    assert not disabled.enabled
    assert disabled.disabled_reason.startswith("Every delivery failed for more than a day")
    service.update_webhook(disabled, service.WebhookPatch(enabled=True))
    there.answers = [200]
    make_due()
    attempt_one(webhook)
    assert (Webhook.objects.get().failures, Webhook.objects.get().enabled) == (0, True)


def test_webhook_is_disabled_on_410(webhook: Webhook, there: Receiver) -> None:
    there.answers = [410]
    outbox.send_test(webhook)
    attempt_one(webhook)
    assert Webhook.objects.get().disabled_reason == "The receiver returned 410 Gone."


def test_both_secrets_sign_for_a_day_after_rotation(webhook: Webhook, there: Receiver) -> None:
    service.rotate_secret(webhook)
    outbox.send_test(webhook)
    attempt_one(webhook)
    assert len(there.got[0][1]["webhook-signature"].split(" ")) == 2
    Webhook.objects.update(old_secret_until=timezone.now() - timedelta(seconds=1))
    outbox.send_test(webhook)
    attempt_one(webhook)
    assert len(there.got[1][1]["webhook-signature"].split(" ")) == 1
