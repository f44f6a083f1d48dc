"""What people ask of webhooks, checked at the door."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.db.models.functions import Now
from pydantic import BaseModel, ConfigDict, Field

from training.accounts import audit
from training.models.webhooks import Webhook, generate_secret
from training.webhooks import url_policy

MAX_WEBHOOKS = 50  # for each user
# For so long after a rotation both secrets sign.
ROTATION_OVERLAP = timedelta(days=1)

EventName = Literal[
    "job.started", "job.completed", "job.failed", "job.cancelled", "job.paused",
    "sweep.started", "sweep.completed", "sweep.failed", "sweep.cancelled", "sweep.paused",
]  # fmt: skip
Events = Annotated[
    list[EventName], Field(min_length=1, max_length=20, description="What it is told of.")
]
Url = Annotated[
    str, Field(min_length=1, max_length=2000, description="An https address that takes a POST.")
]


class WebhookPatch(BaseModel):
    """What of a webhook may be changed; what is left out stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url = ""
    events: Events = []
    description: str = Field("", max_length=500, description="Shown in lists.")
    enabled: bool = Field(True, description="Off: nothing is sent, and nothing new kept to send.")


class CreateWebhook(WebhookPatch):
    """A webhook to make."""

    url: Url
    events: Events


class InvalidWebhookError(ValueError):
    """`field` and the sentence that says why it is refused."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


def check_url(url: str) -> None:
    """Refused where this address is not allowed; it is looked up, so not in a transaction."""
    try:
        url_policy.check_target(url)
    except url_policy.ForbiddenUrlError as refusal:
        raise InvalidWebhookError("url", str(refusal)) from None


def create_webhook(owner: User, wanted: CreateWebhook) -> Webhook:
    """A webhook at an address that was checked; Refused where there are too many."""
    if Webhook.objects.filter(owner=owner).count() >= MAX_WEBHOOKS:
        raise InvalidWebhookError(
            "url", f"You have {MAX_WEBHOOKS} webhooks already; delete one first."
        )
    made = Webhook.objects.create(owner=owner, **_values(wanted.model_dump()))
    _record("webhook made", made)
    return made


def update_webhook(webhook: Webhook, patch: WebhookPatch) -> None:
    """Change what was sent; one that is enabled again begins with a clean slate."""
    sent = patch.model_dump(exclude_unset=True)
    if "url" in sent:
        check_url(sent["url"])
    if sent.get("enabled"):
        sent |= {"disabled_reason": "", "failures": 0, "failing_since": None}
    if sent:
        Webhook.objects.filter(pk=webhook.pk).update(**_values(sent))
        webhook.refresh_from_db()
        _record("webhook changed", webhook, fields=sorted(patch.model_fields_set))


def rotate_secret(webhook: Webhook) -> str:
    """A new secret; the old one signs beside it for a day."""
    secret = generate_secret()
    Webhook.objects.filter(pk=webhook.pk).update(
        secret=secret, old_secret=webhook.secret, old_secret_until=Now() + ROTATION_OVERLAP
    )
    _record("webhook rotated", webhook)
    return secret


def delete_webhook(webhook: Webhook) -> None:
    """It is told nothing more, and its deliveries go with it."""
    _record("webhook deleted", webhook)
    webhook.delete()


def _record(action: str, webhook: Webhook, **detail: Any) -> None:
    # The host alone: with many a receiver the rest of the address is a secret.
    host = urlsplit(webhook.url).hostname
    audit.record(action, f"webhook {webhook.pk} to {host}", **detail)


def _values(sent: dict[str, Any]) -> dict[str, Any]:
    if "events" in sent:
        sent["events"] = list(dict.fromkeys(sent["events"]))
    return sent
