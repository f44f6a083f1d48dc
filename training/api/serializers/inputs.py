"""Serializers of input whose errors are worded as those of `training.validation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from heimdall_sdk.text import TextError, normalize_name
from training.validation import (
    MAX_ERRORS,
    MAX_SHOWN,
    sentence,
    shown_value,
    type_message,
    validator_message,
)


class NameField(serializers.CharField):
    """A name, normalized by the rule for names."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return normalize_name(super().to_internal_value(data))
        except TextError as error:
            raise serializers.ValidationError(sentence(error)) from None


class InputSerializer(serializers.Serializer[Any]):
    # Not for page forms, which send additional fields.
    refuses_unknown = False

    def to_internal_value(self, data: Any) -> Any:
        unknown = {*data} - {*self.fields} if isinstance(data, Mapping) else set()
        if self.refuses_unknown and unknown:
            raise serializers.ValidationError(
                {str(name)[:MAX_SHOWN]: ["Unknown field."] for name in [*unknown][:MAX_ERRORS]}
            )
        try:
            return super().to_internal_value(data)
        except serializers.ValidationError as error:
            if not (isinstance(error.detail, dict) and isinstance(data, Mapping)):
                raise
            raise serializers.ValidationError(
                {
                    name: [self._message(name, data.get(name), detail) for detail in details]
                    for name, details in error.detail.items()
                }
            ) from error

    def _message(self, name: str, value: object, detail: Any) -> str:
        field = self.fields.get(name)
        if detail.code == "invalid" and isinstance(field, serializers.IntegerField):
            return type_message(int, value)
        if (
            detail.code == "invalid"
            and isinstance(field, serializers.CharField)
            and not isinstance(value, str)
        ):
            return f"{shown_value(value)} is not a string."
        if detail.code == "not_a_list":
            return "This must be a list."
        if detail.code == "invalid_choice" and isinstance(field, serializers.ChoiceField):
            return f"{detail!s} Choose from {', '.join(map(str, field.choices))}."
        if detail.code == "null_characters_not_allowed":
            return "Contains the control character U+0000, which is not allowed; remove it."
        bound = getattr(field, detail.code, None)
        message = None if bound is None else validator_message(detail.code, value, bound)
        return message or str(detail)
