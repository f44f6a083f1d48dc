"""Form fields for numbers.

They are text inputs: a browser's number input drops a comma that its language does not use, so
that -69,0 would arrive as -690.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from training.typed_numbers import NumberFormatError, normalize_number, require_plain_digits


def _widget(keyboard: str, bounds: dict[str, Any]) -> forms.TextInput:
    """With a keyboard of digits, unless the number may be negative: those have no minus sign."""
    minimum = bounds.get("min_value")
    attributes = {"autocomplete": "off"}
    if minimum is not None and minimum >= 0:
        attributes["inputmode"] = keyboard
    return forms.TextInput(attributes)


class WholeNumberField(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"widget": _widget("numeric", options), **options})

    def to_python(self, value: Any) -> int | None:
        if isinstance(value, str):
            try:
                require_plain_digits(value.strip())
            except NumberFormatError as error:
                raise ValidationError(str(error), code="digits") from error
        return super().to_python(value)


class NumberField(forms.FloatField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"widget": _widget("decimal", options), **options})

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]
        if isinstance(value, str):
            try:
                value = normalize_number(value)
            except NumberFormatError as error:
                raise ValidationError(str(error), code="separators") from error
        return super().to_python(value)
