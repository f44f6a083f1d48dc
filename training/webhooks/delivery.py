"""Delivery of the outbox. Any number of threads may run; one of them claims each delivery."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from training.models.webhooks import Delivery, Webhook
from training.webhooks.http_client import WebhookResponse, post
from training.webhooks.signing import signed_headers

# Webhook retry schedule: the delays after the first failure, the second, ... The delivery is
# dead after the last one.
RETRY_DELAYS_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 12 * 3600, 24 * 3600)
JITTER = 0.2
MAX_RETRY_DELAY = 24 * 3600
# Longer than an attempt takes; the claim of a sender that died expires then.
CLAIM_SECONDS = 90
CONCURRENCY = 4
# A webhook is disabled after this many failed attempts in a row, over at least this time.
DISABLE_AFTER_FAILURES, DISABLE_AFTER = 20, timedelta(days=1)
RETENTION, CLEANUP_INTERVAL_SECONDS = timedelta(days=30), 3600

log = logging.getLogger(__name__)


class DeliveryThread:
    """Sends due deliveries; a slow receiver does not delay the others."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="webhook")
        self._in_flight: dict[Future[None], UUID] = {}
        self._cleanup_at = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop. Another process repeats unfinished deliveries once their claims expire."""
        self._stop.set()
        self._thread.join(timeout=2)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        healthy = True
        while not self._stop.wait(settings.MAINTENANCE_SECONDS if not self._in_flight else 0.1):
            try:
                close_old_connections()
                self.run_once()
            except Exception:
                if healthy:
                    log.exception("Cannot read the webhook outbox; retrying.")
                healthy = False
            else:
                healthy = True
        connection.close()

    def run_once(self) -> None:
        """Submit due deliveries to the pool, one per webhook; wait up to 1 s for a result."""
        self._delete_old()
        for webhook in _due_webhooks(set(self._in_flight.values())):
            if len(self._in_flight) >= CONCURRENCY:
                break
            if (delivery := claim_delivery(webhook)) is not None:
                self._in_flight[self._pool.submit(_send_and_close, delivery)] = webhook.pk
        if self._in_flight:
            done, _ = wait(self._in_flight, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                del self._in_flight[future]

    def _delete_old(self) -> None:
        if time.monotonic() >= self._cleanup_at:
            self._cleanup_at = time.monotonic() + CLEANUP_INTERVAL_SECONDS
            old = Delivery.objects.filter(created_at__lt=Now() - RETENTION)
            old.exclude(status=Delivery.State.PENDING).delete()


def _due() -> Q:
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    return unclaimed & Q(status=Delivery.State.PENDING, next_attempt_at__lte=Now())


def _due_webhooks(busy: set[UUID]) -> list[Webhook]:
    due = Delivery.objects.filter(_due(), webhook=OuterRef("pk"))
    rows = Webhook.objects.filter(Exists(due), enabled=True).exclude(pk__in=busy)
    return list(rows.order_by("?")[: 2 * CONCURRENCY])


def claim_delivery(webhook: Webhook) -> Delivery | None:
    """Claim the oldest due delivery of this webhook for CLAIM_SECONDS; None if there is none."""
    due = Delivery.objects.filter(_due(), webhook=webhook).order_by("next_attempt_at", "pk")
    for pk in due.values_list("pk", flat=True)[:CONCURRENCY]:
        claimed = Delivery.objects.filter(_due(), pk=pk).update(
            claimed_until=Now() + timedelta(seconds=CLAIM_SECONDS),
            attempts=F("attempts") + 1,
            attempted_at=Now(),
        )
        if claimed:
            return Delivery.objects.select_related("webhook").get(pk=pk)
    return None


def _send_and_close(delivery: Delivery) -> None:
    try:
        send_delivery(delivery)
    except Exception:
        # For example the database is unavailable: the claim expires, and it is sent again.
        log.exception(
            "Cannot store the result of delivery %s; it is retried when the claim expires.",
            delivery.pk,
        )
    finally:
        connection.close()


def send_delivery(delivery: Delivery) -> None:
    """Make one attempt at a claimed delivery and record its result."""
    webhook, body, now = delivery.webhook, delivery.body.encode(), timezone.now()
    secrets = [webhook.secret]
    if webhook.old_secret and webhook.old_secret_until and webhook.old_secret_until > now:
        secrets.append(webhook.old_secret)
    headers = signed_headers(secrets, delivery.message_id, int(now.timestamp()), body)
    record_result(delivery, post(webhook.url, headers, body))


def record_result(delivery: Delivery, response: WebhookResponse) -> None:
    """Mark it delivered, due again, or dead; no effect if another sender has claimed it since."""
    own_claim = Delivery.objects.filter(
        pk=delivery.pk, attempts=delivery.attempts, status=Delivery.State.PENDING
    )
    result = {
        "claimed_until": None,
        "response_code": response.code,
        "error": response.error,
        "duration_ms": response.milliseconds,
    }
    webhook = Webhook.objects.filter(pk=delivery.webhook_id)
    if response.succeeded:
        own_claim.update(status=Delivery.State.DELIVERED, next_attempt_at=None, **result)
        webhook.update(failures=0, failing_since=None)
    elif delay := retry_delay(delivery.attempts, response.retry_after):
        own_claim.update(next_attempt_at=Now() + timedelta(seconds=delay), **result)
    else:
        own_claim.update(status=Delivery.State.DEAD, next_attempt_at=None, **result)
    if not response.succeeded:
        webhook.filter(failing_since=None).update(failing_since=Now())
        webhook.update(failures=F("failures") + 1)
        _disable_if_failing(delivery.webhook_id, response)


def retry_delay(attempts: int, retry_after: float = 0.0) -> float | None:
    """Return the seconds until the next attempt; None after the last one."""
    if attempts > len(RETRY_DELAYS_SECONDS):
        return None
    delay = RETRY_DELAYS_SECONDS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(delay, min(retry_after, MAX_RETRY_DELAY))


def _disable_if_failing(webhook_id: UUID, response: WebhookResponse) -> None:
    """Disable a webhook whose receiver answers 410 Gone or has failed for long."""
    webhook = Webhook.objects.filter(pk=webhook_id, enabled=True)
    if response.code == 410:
        reason = "The receiver returned 410 Gone."
    else:
        webhook = webhook.filter(
            failures__gte=DISABLE_AFTER_FAILURES, failing_since__lt=Now() - DISABLE_AFTER
        )
        reason = f"Every delivery failed for more than a day. Last error: {response.error}"
    if webhook.update(enabled=False, disabled_reason=reason[:500]):
        log.warning("Webhook %s was disabled. %s", webhook_id, reason)
