"""Datasets, models and workers, to be looked at; a dataset that no job names can be forgotten."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from training import datasets, standing, words
from training.admin.readonly import ReadOnly
from training.models import Dataset, TrainedModel, Worker
from training.templatetags.heimdall import ago, state_pill


@admin.register(Dataset)
class DatasetAdmin(ReadOnly):
    list_display = ("name", "kind", "state", "samples", "owner", "created_at")
    list_filter = ("kind", "status", "owner", "created_at")
    search_fields = ("name", "id", "content_hash")
    list_select_related = ("owner",)
    actions = ("forget",)

    @admin.display(description="state", ordering="status")
    def state(self, dataset: Dataset) -> SafeString:
        return state_pill(dataset.status)

    @admin.action(description="Forget those that no job names")
    def forget(self, request: HttpRequest, rows: QuerySet[Dataset]) -> None:
        for dataset in rows:
            try:
                datasets.delete(dataset)
            except datasets.DatasetInUse as refusal:
                messages.warning(request, str(refusal))


@admin.register(TrainedModel)
class TrainedModelAdmin(ReadOnly):
    list_display = ("job", "test_rmse", "bound", "created_at", "checkpoint_path")
    list_select_related = ("job",)
    search_fields = ("job__name", "job__id")

    @admin.display(description="test RMSE")
    def test_rmse(self, model: TrainedModel) -> str:
        return words.metres(model.evaluation.get("test", {}).get("rmse_m"))

    @admin.display(description="bound")
    def bound(self, model: TrainedModel) -> str:
        return words.metres(model.evaluation.get("bound_rmse_m"))


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "state", "slots", "started_at", "seen")

    @admin.display(description="state")
    def state(self, worker: Worker) -> str:
        return next((one.state for one in standing.crew() if one.name == worker.name), "")

    @admin.display(description="seen", ordering="seen_at")
    def seen(self, worker: Worker) -> SafeString:
        return ago(worker.seen_at)
