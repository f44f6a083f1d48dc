from __future__ import annotations

from rest_framework import serializers

from training.api.serializers.fields import JSONObject
from training.models.states import Needs
from training.programs.manifest import Program
from training.programs.metrics import Metric


class MetricSerializer(serializers.Serializer[Metric]):
    name = serializers.CharField()
    title = serializers.CharField()
    unit = serializers.CharField()
    direction = serializers.ChoiceField(["minimize", "maximize"], allow_null=True)
    format = serializers.ChoiceField(["number", "distance", "percent", "duration"])


class ProgramObjectiveSerializer(serializers.Serializer[Program]):
    metric = serializers.CharField()
    direction = serializers.ChoiceField(["minimize", "maximize"])


class ProgramSerializer(serializers.Serializer[Program]):
    """A training that can be chosen."""

    name = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    parameters = JSONObject(help_text="JSON Schema of the parameters of a job.")
    objective = ProgramObjectiveSerializer(allow_null=True)
    metrics = MetricSerializer(many=True, help_text="The declared metrics; others may appear.")
    needs = serializers.ChoiceField(Needs.choices)
    resumable = serializers.BooleanField(help_text="Whether its jobs can be paused and resumed.")
    has_datasets = serializers.BooleanField(help_text="Whether a job needs a `dataset_id`.")


class ProgramPageSerializer(serializers.Serializer[Program]):
    """All programs on one page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = ProgramSerializer(many=True)
