"""A base for admins whose changes are in the audit log too, which has address and request."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from training.accounts import audit


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        audit.record("created", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        audit.record("changed", obj, fields=_changed_fields(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Model]) -> Any:
        for row in queryset:
            audit.record("delete", row)
        return super().log_deletions(request, queryset)


def _changed_fields(message: Any) -> list[str]:
    changed = [one.get("changed", {}) for one in message] if isinstance(message, list) else []
    return [str(field) for one in changed for field in one.get("fields", [])]
