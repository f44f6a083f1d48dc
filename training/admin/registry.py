"""The read-only admin for datasets, models, workers, tokens and the audit log."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from training.accounts import tokens
from training.admin.filters import CreationTimeFilter, TimeFilter
from training.admin.readonly import ReadOnly
from training.datasets import service as datasets
from training.models import ApiToken, AuditEntry, Dataset, TrainedModel, Worker
from training.storage import disk_usage
from training.templatetags.formatting import ago, state_pill
from training.web import formatting
from training.workers import registry


@admin.register(Dataset)
class DatasetAdmin(ReadOnly):
    list_display = ("name", "kind", "state", "samples", "disk", "owner", "team", "created_at")
    list_filter = ("kind", "status", "owner", ("created_at", CreationTimeFilter))
    search_fields = ("name", "id", "content_hash")
    list_select_related = ("owner", "team")
    actions = ("delete_unused",)

    @admin.display(description="status", ordering="status")
    def state(self, dataset: Dataset) -> SafeString:
        return state_pill(dataset.status)

    @admin.display(description="on disk")
    def disk(self, dataset: Dataset) -> str:
        return formatting.format_size(disk_usage.dataset_bytes(dataset.pk))

    @admin.action(description="Delete unused datasets")
    def delete_unused(self, request: HttpRequest, rows: QuerySet[Dataset]) -> None:
        for dataset in rows:
            try:
                datasets.delete_dataset(dataset)
            except datasets.DatasetInUseError as error:
                messages.warning(request, str(error))
            else:
                messages.success(request, f"Deleted dataset {dataset.name!r}.")


@admin.register(TrainedModel)
class TrainedModelAdmin(ReadOnly):
    list_display = ("job", "test_rmse", "bound", "created_at", "checkpoint_path")
    list_select_related = ("job",)
    search_fields = ("job__name", "job__id")

    @admin.display(description="test RMSE")
    def test_rmse(self, model: TrainedModel) -> str:
        return formatting.format_distance(model.evaluation.get("test", {}).get("rmse_m"))

    @admin.display(description="CRLB")
    def bound(self, model: TrainedModel) -> str:
        return formatting.format_distance(model.evaluation.get("bound_rmse_m"))


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "state", "slots", "hardware", "started_at", "seen")

    @admin.display(description="hardware")
    def hardware(self, worker: Worker) -> str:
        return ", ".join(worker.has)

    @admin.display(description="status")
    def state(self, worker: Worker) -> str:
        return next((row.state for row in registry.list_workers() if row.name == worker.name), "")

    @admin.display(description="last seen", ordering="seen_at")
    def seen(self, worker: Worker) -> SafeString:
        return ago(worker.seen_at)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly):
    list_display = ("name", "user", "created_at", "expires_at", "last_used_at")
    list_filter = ("user",)
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    exclude = ("digest",)
    actions = ("revoke",)

    @admin.action(description="Revoke selected tokens")
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        for row in rows.select_related("user"):
            tokens.revoke_token(row)
            messages.success(request, f"Revoked a token of {row.user.username}.")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly):
    list_display = ("at", "actor", "action", "target", "address", "request_id")
    list_filter = ("action", ("at", TimeFilter))
    search_fields = ("actor", "target", "request_id", "address")
    date_hierarchy = "at"
    show_full_result_count = False
