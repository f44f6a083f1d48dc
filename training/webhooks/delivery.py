"""The thread that empties the outbox: any number may run, each delivery is claimed by one."""

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
from training.webhooks.signing import headers

# After the first failure, after the second, ...; after the last one the delivery is dead.
RETRY_DELAYS_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 12 * 3600, 24 * 3600)
JITTER = 0.2
MAX_RETRY_DELAY = 24 * 3600
# Longer than an attempt can take; a sender that died meanwhile has lost its claim then.
CLAIM_SECONDS = 90
CONCURRENCY = 4
# An address that takes nothing for so many attempts and so long is not asked any more.
GIVE_UP_FAILURES, GIVE_UP_AFTER = 20, timedelta(days=1)
KEPT, FORGET_EVERY_SECONDS = timedelta(days=30), 3600

log = logging.getLogger(__name__)


class DeliveryThread:
    """Sends what is due; one slow receiver keeps no other waiting."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="webhook")
        self._busy: dict[Future[None], UUID] = {}
        self._forget_at = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is being sent when the process ends is sent again by another, under its id."""
        self._stop.set()
        self._thread.join(timeout=2)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        well = True
        while not self._stop.wait(settings.MAINTENANCE_SECONDS if not self._busy else 0.1):
            try:
                close_old_connections()
                self.look()
            except Exception:
                if well:
                    log.exception("Webhooks wait: the outbox cannot be read; it is tried again.")
                well = False
            else:
                well = True
        connection.close()

    def look(self) -> None:
        """Give what is due to the pool, for each webhook one at a time; wait a moment for it."""
        self._forget()
        for webhook in _due_webhooks(set(self._busy.values())):
            if len(self._busy) >= CONCURRENCY:
                break
            if (delivery := claim_delivery(webhook)) is not None:
                self._busy[self._pool.submit(_send_and_close, delivery)] = webhook.pk
        if self._busy:
            done, _ = wait(self._busy, timeout=1, return_when=FIRST_COMPLETED)
            for one in done:
                del self._busy[one]

    def _forget(self) -> None:
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + FORGET_EVERY_SECONDS
            old = Delivery.objects.filter(created_at__lt=Now() - KEPT)
            old.exclude(status=Delivery.State.PENDING).delete()


def _due() -> Q:
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    return unclaimed & Q(status=Delivery.State.PENDING, next_attempt_at__lte=Now())


def _due_webhooks(busy: set[UUID]) -> list[Webhook]:
    theirs = Delivery.objects.filter(_due(), webhook=OuterRef("pk"))
    rows = Webhook.objects.filter(Exists(theirs), enabled=True).exclude(pk__in=busy)
    return list(rows.order_by("?")[: 2 * CONCURRENCY])


def claim_delivery(webhook: Webhook) -> Delivery | None:
    """The oldest that is due for this webhook, ours for a while; None where there is none."""
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
        # The database is away, say: the claim runs out, and it is sent again.
        log.exception("What came of delivery %s could not be written.", delivery.pk)
    finally:
        connection.close()


def send_delivery(delivery: Delivery) -> None:
    """One attempt at a delivery that was claimed, and what came of it."""
    webhook, body, now = delivery.webhook, delivery.body.encode(), timezone.now()
    secrets = [webhook.secret]
    if webhook.old_secret and webhook.old_secret_until and webhook.old_secret_until > now:
        secrets.append(webhook.old_secret)
    signed = headers(secrets, delivery.message_id, int(now.timestamp()), body)
    record_result(delivery, post(webhook.url, signed, body))


def record_result(delivery: Delivery, answer: WebhookResponse) -> None:
    """Delivered, to be tried again, or dead. Another's claim meanwhile makes ours say nothing."""
    mine = Delivery.objects.filter(
        pk=delivery.pk, attempts=delivery.attempts, status=Delivery.State.PENDING
    )
    told = {"claimed_until": None, "response_code": answer.code, "error": answer.error,
            "duration_ms": answer.milliseconds}  # fmt: skip
    webhook = Webhook.objects.filter(pk=delivery.webhook_id)
    if answer.taken:
        mine.update(status=Delivery.State.DELIVERED, next_attempt_at=None, **told)
        webhook.update(failures=0, failing_since=None)
    elif pause := retry_delay(delivery.attempts, answer.retry_after):
        mine.update(next_attempt_at=Now() + timedelta(seconds=pause), **told)
    else:
        mine.update(status=Delivery.State.DEAD, next_attempt_at=None, **told)
    if not answer.taken:
        webhook.filter(failing_since=None).update(failing_since=Now())
        webhook.update(failures=F("failures") + 1)
        _give_up(delivery.webhook_id, answer)


def retry_delay(attempts: int, retry_after: float = 0.0) -> float | None:
    """Seconds until the next attempt; None after the last one."""
    if attempts > len(RETRY_DELAYS_SECONDS):
        return None
    pause = RETRY_DELAYS_SECONDS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(pause, min(retry_after, MAX_RETRY_DELAY))


def _give_up(webhook_id: UUID, answer: WebhookResponse) -> None:
    """The address says that it is gone for good (410), or has taken nothing for long."""
    webhook = Webhook.objects.filter(pk=webhook_id, enabled=True)
    if answer.code == 410:
        reason = "The receiver answered 410: it is gone for good."
    else:
        webhook = webhook.filter(
            failures__gte=GIVE_UP_FAILURES, failing_since__lt=Now() - GIVE_UP_AFTER
        )
        reason = f"Nothing was taken for more than a day; the last answer: {answer.error}"
    if webhook.update(enabled=False, disabled_reason=reason[:500]):
        log.warning("Webhook %s was disabled. %s", webhook_id, reason)
