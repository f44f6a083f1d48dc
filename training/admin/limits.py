"""The admin for limits of single users: the only rows that staff edit in it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from training.accounts import audit, limits
from training.models import LimitOverride


def _choices() -> list[tuple[str, str]]:
    return [(limit.name, limit.title) for limit in limits.ALL]


class LimitOverrideForm(forms.ModelForm):  # type: ignore[type-arg]
    # A list of all users would grow with the installation.
    user = forms.ModelChoiceField(
        User.objects.all(), to_field_name="username", widget=forms.TextInput, label="User name"
    )
    name = forms.ChoiceField(label="Limit", choices=_choices)


@admin.register(LimitOverride)
class LimitOverrideAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = LimitOverrideForm
    list_display = ("user", "title", "maximum")
    list_filter = ("name",)
    list_select_related = ("user",)
    search_fields = ("user__username",)

    @admin.display(description="limit", ordering="name")
    def title(self, row: LimitOverride) -> str:
        return dict(_choices()).get(row.name, row.name)

    def get_readonly_fields(
        self, request: HttpRequest, obj: LimitOverride | None = None
    ) -> tuple[str, ...]:
        return ("user",) if obj else ()

    def save_model(self, request: HttpRequest, obj: LimitOverride, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        audit.record("limit changed", str(obj), maximum=obj.maximum)

    def delete_model(self, request: HttpRequest, obj: LimitOverride) -> None:
        audit.record("limit changed", str(obj), maximum=None)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[LimitOverride]) -> None:
        for row in queryset:
            self.delete_model(request, row)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)
