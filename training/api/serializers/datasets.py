"""Request and response bodies of datasets."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from training.api.serializers.fields import JSONObject, JSONText
from training.api.serializers.inputs import InputSerializer, NameField
from training.models import Dataset
from training.programs.registry import get_program


def _description(field: str) -> str:
    return get_program().dataset_format.import_options.model_fields[field].description or ""


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    """A dataset, without its samples."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    team = serializers.CharField(source="team.name", read_only=True, default=None, allow_null=True)
    receivers = serializers.SerializerMethodField()
    split = serializers.SerializerMethodField()
    facts = JSONObject(
        read_only=True, help_text="Statistics, computed when the dataset was stored."
    )

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


class UploadSerializer(InputSerializer):
    """A zip of a folder in the import format, or a single table with its mapping."""

    name = NameField(
        max_length=200, required=False, default="", help_text="Required without `dry_run`."
    )
    file = serializers.FileField()
    split_by = serializers.CharField(required=False, help_text=_description("split_by"))
    split_column = serializers.CharField(required=False, help_text=_description("split_column"))
    split_seed = serializers.IntegerField(required=False, help_text=_description("split_seed"))
    mapping = JSONText(required=False, help_text=_description("mapping"))
