"""The answers of the API: rows as JSON."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

from rest_framework import serializers

from training.accounts.tokens import DAYS
from training.api.serializers import fields as shapes
from training.localization.config import ImportConfig
from training.models import ApiToken, Dataset, Epoch, Job, JobEvent
from training.workers.registry import Capacity


def _help(field: str) -> str:
    return ImportConfig.model_fields[field].description or ""


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job as it is, and what was asked of it."""

    dataset_id = serializers.UUIDField(read_only=True)
    dataset_hash = serializers.CharField(source="dataset.content_hash", read_only=True)
    owner = serializers.CharField(source="owner.username", read_only=True)
    parent_id = serializers.UUIDField(read_only=True, allow_null=True)
    sweep_id = serializers.UUIDField(read_only=True, allow_null=True)
    progress_percent = serializers.FloatField(read_only=True)
    tags = shapes.StringList(read_only=True)
    config = shapes.JSONObject(read_only=True, help_text="The hyper-parameters, every one of them.")
    team = serializers.CharField(source="team.name", read_only=True, default=None, allow_null=True)
    waits_for = serializers.SerializerMethodField(
        help_text="Why a queued job can not start; empty where a worker is there for it."
    )

    class Meta:
        model = Job
        fields: ClassVar = [
            "id", "kind", "name", "notes", "tags", "owner", "status", "stop_requested", "seq",
            "dataset_id", "dataset_hash", "parent_id", "sweep_id", "trial", "config",
            "current_epoch", "total_epochs", "progress_percent", "best_epoch", "best_val_loss",
            "best_val_rmse", "checkpoint_path", "error_message", "cancel_reason", "attempt",
            "crashes", "worker", "created_at", "started_at", "finished_at", "heartbeat_at",
            "team", "needs", "priority", "waits_for",
        ]  # fmt: skip
        read_only_fields = fields

    def to_representation(self, instance: Job) -> dict[str, Any]:
        """Straight from the attributes: DRF, field by field, takes ten times as long for a list."""
        plain = {name: _plain(source(instance)) for name, source in self._sources.items()}
        team = instance.team.name if instance.team else None
        return {**plain, "team": team, "waits_for": self.get_waits_for(instance)}

    @cached_property
    def _sources(self) -> dict[str, attrgetter[Any]]:
        derived = {"team", "waits_for"}
        names = {name: str(field.source) for name, field in self.fields.items()}
        return {name: attrgetter(names[name]) for name in names if name not in derived}

    @cached_property
    def _hardware(self) -> Capacity:
        found: Capacity = self.context.get("hardware") or Capacity()
        return found

    def get_waits_for(self, job: Job) -> str:
        return self._hardware.waits_for(job)


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    """A dataset's facts."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    team = serializers.CharField(source="team.name", read_only=True, default=None, allow_null=True)
    receivers = serializers.SerializerMethodField()
    split = serializers.SerializerMethodField()
    facts = shapes.JSONObject(read_only=True, help_text="What was counted when it was stored.")

    class Meta:
        model = Dataset
        fields: ClassVar = [
            "id", "name", "owner", "kind", "status", "samples", "receivers", "split", "facts",
            "content_hash", "team", "created_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_receivers(self, dataset: Dataset) -> list[dict[str, Any]]:
        return list(dataset.facts.get("receivers", []))

    def get_split(self, dataset: Dataset) -> dict[str, int]:
        return dict(dataset.facts.get("split", {}))


class EpochSerializer(serializers.ModelSerializer[Epoch]):
    metrics = shapes.NumberMap(read_only=True, help_text="By series; distances in metres.")

    class Meta:
        model = Epoch
        fields: ClassVar = ["epoch", "metrics", "is_best", "seconds", "at"]
        read_only_fields = fields


class EventSerializer(serializers.Serializer[JobEvent]):
    """As on the wire."""

    event = serializers.CharField()
    seq = serializers.IntegerField()
    timestamp = serializers.DateTimeField()
    data = serializers.DictField()  # type: ignore[assignment]


class EventPageSerializer(serializers.Serializer[JobEvent]):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = EventSerializer(many=True)


class ColumnsSerializer(serializers.Serializer[Job]):
    """Columns of equal length; `seconds` is the training time up to each epoch's end."""

    epoch = serializers.ListField(child=serializers.IntegerField())
    seconds = serializers.ListField(child=serializers.FloatField())
    series = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField(allow_null=True))
    )
    total = serializers.IntegerField(help_text="How many epochs there are, kept or left out.")


class TokenRequestSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(min_length=1)
    password = serializers.CharField(min_length=1, trim_whitespace=False)
    name = serializers.CharField(
        max_length=100, default="", allow_blank=True, help_text="To know it again by."
    )
    days = serializers.IntegerField(
        min_value=1, max_value=3650, default=DAYS, help_text="Until it runs out."
    )


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    id = serializers.IntegerField()
    expires_at = serializers.DateTimeField()


class TokenRowSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields: ClassVar = ["id", "name", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields


class UploadSerializer(serializers.Serializer[Any]):
    """A zip of the folder that the import format describes."""

    name = serializers.CharField(max_length=200)
    file = serializers.FileField()
    split_by = serializers.CharField(required=False, help_text=_help("split_by"))
    split_column = serializers.CharField(required=False, help_text=_help("split_column"))
    split_seed = serializers.IntegerField(required=False, help_text=_help("split_seed"))


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = serializers.DictField(required=False)  # type: ignore[assignment]
