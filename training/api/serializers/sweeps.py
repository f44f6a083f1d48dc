"""Response bodies of sweeps."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from training.api.serializers.fields import JSONObject
from training.models import Sweep


class SweepSerializer(serializers.ModelSerializer[Sweep]):
    """A sweep with its configuration and progress."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    dataset_id = serializers.UUIDField(read_only=True, allow_null=True)
    team = serializers.CharField(source="team.name", read_only=True, default=None, allow_null=True)
    config = JSONObject(read_only=True, help_text="Hyperparameters shared by all trials.")
    space = JSONObject(
        read_only=True, help_text="Search space by field: `values`, or `min` and `max`."
    )
    early_stopping = JSONObject(read_only=True)

    class Meta:
        model = Sweep
        fields: ClassVar = [
            "id", "name", "owner", "status", "program", "dataset_id", "config", "space",
            "method", "seed",
            "max_parallel", "objective", "early_stopping", "total_trials", "started_trials",
            "error_message", "team", "created_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class TrialSerializer(serializers.Serializer[Any]):
    """A training job of a sweep; `value` is the objective at its best epoch so far."""

    trial = serializers.IntegerField()
    job_id = serializers.UUIDField()
    status = serializers.CharField()
    parameters = serializers.DictField()
    value = serializers.FloatField(allow_null=True)
    best_epoch = serializers.IntegerField(allow_null=True)
    current_epoch = serializers.IntegerField()
    total_epochs = serializers.IntegerField()
    cancel_reason = serializers.CharField(allow_blank=True)
    is_best = serializers.BooleanField()


class SweepDetailSerializer(SweepSerializer):
    """A sweep with its trials; `best` is a completed or running trial."""

    best = TrialSerializer(allow_null=True, read_only=True)
    counts = serializers.DictField(
        child=serializers.IntegerField(), read_only=True, help_text="Number of trials by status."
    )
    trials = TrialSerializer(many=True, read_only=True)

    class Meta(SweepSerializer.Meta):
        fields: ClassVar = [*SweepSerializer.Meta.fields, "best", "counts", "trials"]
