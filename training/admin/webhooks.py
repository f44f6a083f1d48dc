"""The admin for webhooks and their delivery log; secrets are hidden."""

from __future__ import annotations

from collections import Counter

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from heimdall_sdk.text import count_of
from training.accounts.limits import LimitReachedError
from training.admin.filters import CreationTimeFilter
from training.admin.readonly import ReadOnly
from training.models.webhooks import Delivery, Webhook
from training.templatetags.formatting import ago
from training.webhooks import outbox, service

MAX_REASONS = 5


@admin.register(Webhook)
class WebhookAdmin(ReadOnly):
    list_display = ("url", "description", "owner", "enabled", "failures", "disabled_reason",
                    "created_at")  # fmt: skip
    list_filter = ("enabled", "owner")
    search_fields = ("url", "description", "id")
    list_select_related = ("owner",)
    exclude = ("secret", "old_secret")
    actions = ("disable",)

    @admin.action(description="Disable selected webhooks")
    def disable(self, request: HttpRequest, rows: QuerySet[Webhook]) -> None:
        enabled = list(rows.filter(enabled=True))
        for webhook in enabled:
            service.disable_webhook(webhook, "Disabled by an operator.")
        messages.success(request, f"{count_of(len(enabled), 'webhook')} disabled.")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    list_display = ("event", "webhook", "status", "attempts", "response_code", "duration_ms",
                    "attempted", "error")  # fmt: skip
    list_filter = ("status", "event", "webhook", ("created_at", CreationTimeFilter))
    search_fields = ("id", "body", "webhook__url")
    list_select_related = ("webhook",)
    date_hierarchy = "created_at"
    actions = ("resend",)

    @admin.display(description="last attempt", ordering="attempted_at")
    def attempted(self, delivery: Delivery) -> SafeString:
        return ago(delivery.attempted_at)

    @admin.action(description="Redeliver selected deliveries")
    def resend(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        deliverable = list(rows.filter(webhook__enabled=True).select_related("webhook__owner"))
        refusals, queued = Counter[str](), 0
        for delivery in deliverable:
            try:
                outbox.redeliver(delivery)
            except (outbox.AttemptInProgressError, LimitReachedError) as error:
                refusals[str(error)] += 1
            else:
                queued += 1
        if skipped := len(rows) - len(deliverable):
            refusals["the webhook is disabled."] = skipped
        for reason, count in refusals.most_common(MAX_REASONS):
            messages.warning(request, f"{count} not queued: {reason}")
        messages.success(request, f"{queued} queued for redelivery.")
