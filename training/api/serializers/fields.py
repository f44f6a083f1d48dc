"""JSON columns with the types that the OpenAPI schema shows."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework.serializers import JSONField


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class StringList(JSONField):
    """A list of strings."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "null"]}})
class NumberMap(JSONField):
    """Numbers or null, by name."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JSONObject(JSONField):
    """Any values, by name."""
