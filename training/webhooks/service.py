"""Create, change and delete webhooks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict, cast
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from pydantic import BaseModel, ConfigDict, Field

from training.accounts import audit, limits
from training.models.webhooks import Webhook, generate_secret
from training.text import Text
from training.validation import InvalidInputError
from training.webhooks import url_policy
from training.webhooks.outbox import EventName

# After a rotation both secrets sign for this long.
ROTATION_OVERLAP = timedelta(days=1)

Events = Annotated[
    list[EventName], Field(min_length=1, max_length=20, description="The events it receives.")
]
Url = Annotated[
    str, Field(min_length=1, max_length=2000, description="An https:// URL that accepts POST.")
]


class WebhookPatch(BaseModel):
    """Changes to a webhook; omitted fields stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url = ""
    events: Events = []
    description: Text = Field("", max_length=500, description="Shown in lists.")
    enabled: bool = Field(True, description="If false, events are neither sent nor queued.")


class CreateWebhook(WebhookPatch):
    """A new webhook."""

    url: Url
    events: Events


class _Columns(TypedDict, total=False):
    url: str
    events: list[EventName]
    description: str
    enabled: bool
    disabled_reason: str
    failures: int
    failing_since: datetime | None


def check_url(url: str) -> None:
    """Raise InvalidInputError for a forbidden URL. Resolves the name: call outside transactions."""
    try:
        url_policy.check_target(url)
    except url_policy.ForbiddenUrlError as error:
        raise InvalidInputError({"url": [str(error)]}) from None


def create_webhook(owner: User, data: CreateWebhook) -> Webhook:
    """Create a webhook whose URL has been checked with `check_url`."""
    with transaction.atomic():
        limits.require(owner, limits.WEBHOOKS)
        webhook = Webhook.objects.create(owner=owner, **_column_values(data, exclude_unset=False))
        _record("webhook made", webhook)
    return webhook


def update_webhook(webhook: Webhook, patch: WebhookPatch) -> None:
    values = _column_values(patch, exclude_unset=True)
    if "url" in values:
        check_url(values["url"])
    if values.get("enabled"):
        values |= {"disabled_reason": "", "failures": 0, "failing_since": None}
    if values:
        Webhook.objects.filter(pk=webhook.pk).update(**values)
        webhook.refresh_from_db()
        _record("webhook changed", webhook, fields=sorted(patch.model_fields_set))


def disable_webhook(webhook: Webhook, reason: str) -> None:
    Webhook.objects.filter(pk=webhook.pk).update(enabled=False, disabled_reason=reason)
    _record("webhook changed", webhook, fields=["enabled"])


def rotate_secret(webhook: Webhook) -> str:
    secret = generate_secret()
    Webhook.objects.filter(pk=webhook.pk).update(
        secret=secret, old_secret=webhook.secret, old_secret_until=Now() + ROTATION_OVERLAP
    )
    _record("webhook rotated", webhook)
    return secret


def delete_webhook(webhook: Webhook) -> None:
    with transaction.atomic():
        # Waits for changes of jobs that have stored a delivery, so that it is deleted too.
        list(Webhook.objects.select_for_update().filter(pk=webhook.pk).values_list("pk"))
        _record("webhook deleted", webhook)
        webhook.delete()


def _record(action: str, webhook: Webhook, **detail: Any) -> None:
    # The host alone: the rest of the URL often contains a secret.
    host = urlsplit(webhook.url).hostname
    audit.record(action, f"webhook {webhook.pk} to {host}", **detail)


def _column_values(data: WebhookPatch, *, exclude_unset: bool) -> _Columns:
    values = cast(_Columns, data.model_dump(exclude_unset=exclude_unset))
    if "events" in values:
        values["events"] = list(dict.fromkeys(values["events"]))
    return values
