"""The operators' desk: everything listed, nothing edited but through `lifecycle`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from training import datasets, lifecycle
from training.models import Dataset, Epoch, Job, TrainedModel


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows are looked at here and changed elsewhere."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def steer(
    request: HttpRequest, rows: QuerySet[Job], wish: Callable[[Job, str], Job], done: str
) -> None:
    """Ask it of each job; say how many took it, and why the others did not."""
    taken = 0
    for job in rows:
        try:
            wish(job, cast(User, request.user).username)
            taken += 1
        except lifecycle.Conflict as refusal:
            messages.warning(request, f"{job}: {refusal}")
    if taken:
        messages.success(request, f"{done}: {taken} job{'s' if taken != 1 else ''}.")


@admin.register(Job)
class JobAdmin(ReadOnly):
    list_display = ("__str__", "kind", "status", "stop_requested", "progress", "best_val_rmse",
                    "owner", "created_at", "page")  # fmt: skip
    list_filter = ("status", "kind", "owner", "created_at")
    search_fields = ("name", "id")
    list_select_related = ("owner",)
    date_hierarchy = "created_at"
    actions = ("pause", "resume", "cancel", "delete_at_rest")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_staff

    @admin.display(description="progress")
    def progress(self, job: Job) -> str:
        return f"{job.current_epoch}/{job.total_epochs} ({job.progress_percent:.0f} %)"

    @admin.display(description="live")
    def page(self, job: Job) -> str:
        return format_html('<a href="{}">watch</a>', reverse("job", args=[job.pk]))

    @admin.action(description="Pause after the running epoch")
    def pause(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        steer(request, rows, lifecycle.request_pause, "Asked to pause")

    @admin.action(description="Resume from the last checkpoint")
    def resume(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        steer(request, rows, lifecycle.resume, "Queued again")

    @admin.action(description="Cancel")
    def cancel(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        steer(request, rows, lifecycle.request_cancel, "Cancelled, or asked to")

    @admin.action(description="Forget those that are at rest")
    def delete_at_rest(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        def forget(job: Job, actor: str) -> Job:
            lifecycle.delete(job)
            return job

        steer(request, rows, forget, "Forgotten")


@admin.register(Dataset)
class DatasetAdmin(ReadOnly):
    list_display = ("name", "kind", "status", "samples", "owner", "created_at")
    list_filter = ("kind", "status", "owner", "created_at")
    search_fields = ("name", "id", "content_hash")
    list_select_related = ("owner",)
    actions = ("forget",)

    @admin.action(description="Forget those that no job names")
    def forget(self, request: HttpRequest, rows: QuerySet[Dataset]) -> None:
        for dataset in rows:
            try:
                datasets.delete(dataset)
            except datasets.DatasetInUse as refusal:
                messages.warning(request, str(refusal))


@admin.register(Epoch)
class EpochAdmin(ReadOnly):
    list_display = ("job", "epoch", "is_best", "seconds", "at")
    list_filter = ("is_best",)
    list_select_related = ("job",)
    search_fields = ("job__id", "job__name")


@admin.register(TrainedModel)
class TrainedModelAdmin(ReadOnly):
    list_display = ("job", "created_at", "checkpoint_path")
    list_select_related = ("job",)
