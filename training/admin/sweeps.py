"""The admin for sweeps."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from training.admin.filters import CreationTimeFilter
from training.admin.readonly import ReadOnly
from training.models import Sweep
from training.templatetags.formatting import ago, state_pill
from training.web.actions import SWEEP_ACTIONS, Action, perform_action


@admin.register(Sweep)
class SweepAdmin(ReadOnly):
    list_display = ("name", "live_page", "state", "trials", "method", "owner", "created")
    list_filter = ("status", "method", "owner", ("created_at", CreationTimeFilter))
    search_fields = ("name", "id")
    list_select_related = ("owner",)
    actions = ("pause", "resume", "cancel")

    @admin.display(description="page")
    def live_page(self, sweep: Sweep) -> SafeString:
        return format_html('<a href="{}">live</a>', reverse("sweep", args=[sweep.pk]))

    @admin.display(description="status", ordering="status")
    def state(self, sweep: Sweep) -> SafeString:
        return state_pill(sweep.status)

    @admin.display(description="trials started", ordering="started_trials")
    def trials(self, sweep: Sweep) -> str:
        return f"{sweep.started_trials} / {sweep.total_trials}"

    @admin.display(description="created", ordering="created_at")
    def created(self, sweep: Sweep) -> SafeString:
        return ago(sweep.created_at)

    @admin.action(description="Pause selected sweeps and their running trials")
    def pause(self, request: HttpRequest, rows: QuerySet[Sweep]) -> None:
        _perform_on_each(request, rows, SWEEP_ACTIONS["pause"])

    @admin.action(description="Resume selected sweeps")
    def resume(self, request: HttpRequest, rows: QuerySet[Sweep]) -> None:
        _perform_on_each(request, rows, SWEEP_ACTIONS["resume"])

    @admin.action(description="Cancel selected sweeps and their running trials")
    def cancel(self, request: HttpRequest, rows: QuerySet[Sweep]) -> None:
        _perform_on_each(request, rows, SWEEP_ACTIONS["cancel"])


def _perform_on_each(request: HttpRequest, rows: QuerySet[Sweep], action: Action[Sweep]) -> None:
    for sweep in rows:
        perform_action(request, sweep, action, label=str(sweep))
