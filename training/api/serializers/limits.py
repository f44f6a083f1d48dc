"""The JSON of limits per user."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class LimitSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(source="limit.name")
    title = serializers.CharField(source="limit.title")
    used = serializers.IntegerField(min_value=0)
    maximum = serializers.IntegerField(min_value=0)
