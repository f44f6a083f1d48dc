from __future__ import annotations

from typing import ClassVar

from rest_framework import serializers

from training.models import Project


class ProjectSerializer(serializers.ModelSerializer[Project]):
    """A group of jobs."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    team = serializers.CharField(source="team.name", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Project
        fields: ClassVar = ["id", "name", "description", "owner", "team", "created_at"]
        read_only_fields = fields
