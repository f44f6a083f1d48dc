"""Delivery of the outbox. Any number of threads may run; one of them claims each delivery."""

from __future__ import annotations

import logging
import random
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from realtime.outage_log import OutageLog
from training.models.webhooks import Delivery, Webhook
from training.periodic_thread import PeriodicThread
from training.webhooks.http_client import WebhookResponse, post
from training.webhooks.signing import signed_headers

# Webhook retry schedule: the delays after the first failure, the second, ... The delivery is
# dead after the last one.
RETRY_DELAYS_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 12 * 3600, 24 * 3600)
JITTER = 0.2
MAX_RETRY_DELAY = 24 * 3600
# Longer than an attempt takes; the claim of a sender that died expires then.
CLAIM_SECONDS = 90
# Attempts at once in one process. Webhooks whose last attempt failed, which may take the whole time
# that an attempt has, have separate slots.
SLOTS, SLOTS_PER_OWNER = 12, 4
FAILING_SLOTS, FAILING_SLOTS_PER_OWNER = 4, 2
CANDIDATES = 4
# A webhook is disabled after this many failed attempts in a row, over at least this time.
DISABLE_AFTER_FAILURES, DISABLE_AFTER = 20, timedelta(days=1)

log = logging.getLogger(__name__)


class DeliveryThread(PeriodicThread):
    """Sends due deliveries. The owners share its slots, so a slow receiver delays only its own."""

    def __init__(self) -> None:
        outage = OutageLog(
            log,
            failure="Cannot read the webhook outbox; retrying: %s",
            recovery="The webhook outbox can be read again.",
            traceback=True,
        )
        super().__init__("webhooks", outage)
        self._lanes = (
            _Lane("webhook", Q(failures=0), SLOTS, SLOTS_PER_OWNER),
            _Lane("failing-webhook", Q(failures__gt=0), FAILING_SLOTS, FAILING_SLOTS_PER_OWNER),
        )

    def stop(self, timeout: float = 2.0) -> None:
        """Stop. Another process repeats unfinished deliveries once their claims expire."""
        super().stop(timeout)
        for lane in self._lanes:
            lane.shut_down()

    def interval(self) -> float:
        return 0.1 if self.in_flight() else float(settings.MAINTENANCE_SECONDS)

    def run_once(self) -> None:
        """Send due deliveries, one at a time per webhook; wait up to 1 s for a result."""
        for lane in self._lanes:
            lane.fill()
        if in_flight := self.in_flight():
            done, _ = wait(in_flight, timeout=1, return_when=FIRST_COMPLETED)
            for lane in self._lanes:
                lane.in_flight -= done

    def in_flight(self) -> set[Future[None]]:
        return {future for lane in self._lanes for future in lane.in_flight}


class _Lane:
    """Slots for the deliveries of the webhooks that match `which`."""

    def __init__(self, name: str, which: Q, slots: int, per_owner: int) -> None:
        self._which, self._slots, self._per_owner = which, slots, per_owner
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix=name)
        self.in_flight: set[Future[None]] = set()

    def fill(self) -> None:
        """Give the owners one free slot each in turn, first those that have the fewest."""
        if len(self.in_flight) >= self._slots or not (owners := due_owners(self._which)):
            return
        busy = _attempts_by_owner(self._which)
        random.shuffle(owners)
        while owners and len(self.in_flight) < self._slots:
            owner = min(owners, key=lambda one: busy.get(one, 0))
            if busy.get(owner, 0) >= self._per_owner:
                return
            if (delivery := _claim_of_owner(owner, self._which)) is None:
                owners.remove(owner)
                continue
            busy[owner] = busy.get(owner, 0) + 1
            self.in_flight.add(self._pool.submit(_send_and_close, delivery))

    def shut_down(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _due() -> Q:
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    return unclaimed & Q(status=Delivery.State.PENDING, next_attempt_at__lte=Now())


def _claimed() -> Q:
    return Q(status=Delivery.State.PENDING, claimed_until__gte=Now())


def _due_webhooks(which: Q) -> QuerySet[Webhook]:
    """The webhooks that have something to send, and no attempt under way in any process."""
    deliveries = Delivery.objects.filter(webhook=OuterRef("pk"))
    return Webhook.objects.filter(
        which,
        Exists(deliveries.filter(_due())),
        ~Exists(deliveries.filter(_claimed())),
        enabled=True,
        owner__is_active=True,
    )


def due_owners(which: Q) -> list[int]:
    return list(_due_webhooks(which).order_by().values_list("owner_id", flat=True).distinct())


def _attempts_by_owner(which: Q) -> dict[int, int]:
    """The attempts under way of each owner, in all processes."""
    webhooks = Webhook.objects.filter(which)
    rows = Delivery.objects.filter(_claimed(), webhook__in=webhooks).order_by()
    counted = rows.values("webhook__owner_id").annotate(count=Count("pk"))
    return dict(counted.values_list("webhook__owner_id", "count"))


def _claim_of_owner(owner_id: int, which: Q) -> Delivery | None:
    for webhook in _due_webhooks(which).filter(owner=owner_id).order_by("?")[:CANDIDATES]:
        if (delivery := claim_delivery(webhook)) is not None:
            return delivery
    return None


def claim_delivery(webhook: Webhook) -> Delivery | None:
    """Claim what is due first; None if there is nothing, or an attempt is under way."""
    with transaction.atomic():
        rows = Webhook.objects.select_for_update(skip_locked=True, no_key=True)
        if not rows.filter(pk=webhook.pk, enabled=True, owner__is_active=True):
            return None
        deliveries = Delivery.objects.filter(webhook=webhook)
        if deliveries.filter(_claimed()).exists():
            return None
        due = deliveries.filter(_due()).order_by("next_attempt_at", "pk")
        pk = due.values_list("pk", flat=True).first()
        # A resend may have come first.
        if pk is None or not Delivery.objects.filter(_due(), pk=pk).update(
            claimed_until=Now() + timedelta(seconds=CLAIM_SECONDS),
            attempts=F("attempts") + 1,
            attempted_at=Now(),
        ):
            return None
    return Delivery.objects.select_related("webhook").get(pk=pk)


def _send_and_close(delivery: Delivery) -> None:
    try:
        send_delivery(delivery)
    except Exception:
        # For example, the database is unavailable. The claim expires, and the delivery is retried.
        log.exception(
            "Cannot store the result of delivery %s; it is retried when the claim expires.",
            delivery.pk,
        )
    finally:
        connection.close()


def send_delivery(delivery: Delivery) -> None:
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
    elif delay := retry_delay(delivery.attempts - delivery.attempts_before, response.retry_after):
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
