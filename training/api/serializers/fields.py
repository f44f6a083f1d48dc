"""JSON fields with the types that the OpenAPI schema shows."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework.serializers import CharField, JSONField, ValidationError

from training.validation import TOO_DEEP


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class StringList(JSONField):
    """A list of strings."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "null"]}})
class NumberMap(JSONField):
    """Numbers or null, by name."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JSONObject(JSONField):
    """Any values, by name."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JSONText(CharField):
    """JSON as a field of a form."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return json.loads(super().to_internal_value(data))
        except ValueError as error:
            raise ValidationError(f"This is not valid JSON: {error}.") from None
        except RecursionError:
            raise ValidationError(TOO_DEEP) from None
