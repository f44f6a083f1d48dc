"""Columns that hold JSON, by the shape that the schema shows of them."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework.serializers import JSONField


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class StringList(JSONField):
    """A list of texts."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "null"]}})
class NumberMap(JSONField):
    """Numbers by name; null where there is none."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JSONObject(JSONField):
    """Anything by name."""
