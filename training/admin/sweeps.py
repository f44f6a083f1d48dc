"""Sweeps on the desk: looked at, paused, resumed and cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from training.accounts.permissions import signed_in_user
from training.admin.readonly import ReadOnly
from training.jobs import lifecycle
from training.models import Sweep
from training.sweeps import lifecycle as steering
from training.templatetags.formatting import ago, state_pill


@admin.register(Sweep)
class SweepAdmin(ReadOnly):
    list_display = ("name", "live_page", "state", "trials", "method", "owner", "created")
    list_filter = ("status", "method", "owner", "created_at")
    search_fields = ("name", "id")
    list_select_related = ("owner",)
    actions = ("pause", "resume", "cancel")

    @admin.display(description="page")
    def live_page(self, sweep: Sweep) -> SafeString:
        return format_html('<a href="{}">live</a>', reverse("sweep", args=[sweep.pk]))

    @admin.display(description="state", ordering="status")
    def state(self, sweep: Sweep) -> SafeString:
        return state_pill(sweep.status)

    @admin.display(description="trials started", ordering="started_trials")
    def trials(self, sweep: Sweep) -> str:
        return f"{sweep.started_trials} / {sweep.total_trials}"

    @admin.display(description="started", ordering="created_at")
    def created(self, sweep: Sweep) -> SafeString:
        return ago(sweep.created_at)

    @admin.action(description="Pause: start nothing new, pause what trains")
    def pause(self, request: HttpRequest, rows: QuerySet[Sweep]) -> None:
        _steer(request, rows, steering.pause, "paused")

    @admin.action(description="Resume")
    def resume(self, request: HttpRequest, rows: QuerySet[Sweep]) -> None:
        _steer(request, rows, steering.resume, "resumed")

    @admin.action(description="Cancel, with what trains")
    def cancel(self, request: HttpRequest, rows: QuerySet[Sweep]) -> None:
        _steer(request, rows, steering.cancel, "cancelled")


def _steer(
    request: HttpRequest, rows: QuerySet[Sweep], wish: Callable[[Sweep, str], Any], done: str
) -> None:
    for sweep in rows:
        try:
            wish(sweep, signed_in_user(request).username)
        except lifecycle.ConflictError as refusal:
            messages.warning(request, f"{sweep}: {refusal}")
        else:
            messages.success(request, f"{sweep}: {done}.")
