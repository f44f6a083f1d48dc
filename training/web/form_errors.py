"""Forms whose errors are worded as those of the API."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from heimdall_sdk.text import TextError, normalize_name, normalize_text
from training.validation import sentence, type_message, validator_message


class ValidatedForm(forms.Form):
    """Texts are normalized by the rule for texts, those of one line by the rule for names."""

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]
        for name, field in self.fields.items():
            value = self.cleaned_data.get(name)
            if not isinstance(value, str) or not isinstance(field, forms.CharField):
                continue
            if isinstance(field.widget, forms.PasswordInput):
                continue
            several_lines = isinstance(field.widget, forms.Textarea)
            try:
                value = (normalize_text if several_lines else normalize_name)(value)
            except TextError as error:
                self.add_error(name, sentence(error))
                continue
            self.cleaned_data[name] = value
            if field.max_length is not None and len(value) > field.max_length:
                self.add_error(name, validator_message("max_length", value, field.max_length))

    def add_error(self, field: str | None, error: Any) -> None:
        if field is not None and isinstance(error, ValidationError):
            for item in error.error_list:
                if message := self._message(field, item):
                    item.message, item.params = message, None
        super().add_error(field, error)

    def _message(self, name: str, error: ValidationError) -> str | None:
        field, params = self.fields[name], error.params or {}
        if error.code == "invalid" and isinstance(field, forms.IntegerField):
            kind = float if isinstance(field, forms.FloatField) else int
            return type_message(kind, self[name].data)
        if "limit_value" in params:
            return validator_message(str(error.code), params["value"], params["limit_value"])
        return None
