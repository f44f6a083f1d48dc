"""Serializers of input whose errors are worded as those of `training.validation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from heimdall_sdk.text import TextError, normalize_name
from training.validation import sentence, type_message, validator_message


class NameField(serializers.CharField):
    """A name, normalized by the rule for names."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return normalize_name(super().to_internal_value(data))
        except TextError as error:
            raise serializers.ValidationError(sentence(error)) from None


class InputSerializer(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
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
        bound = getattr(field, detail.code, None)
        message = None if bound is None else validator_message(detail.code, value, bound)
        return message or str(detail)
