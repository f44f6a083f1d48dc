"""The values of a configuration as texts, as MLflow's clients see and search them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    TextsField = models.JSONField[dict[str, str], dict[str, str]]
else:
    TextsField = models.JSONField  # not generic


def texts_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Values that are not strings, by name, as MLflow's client writes them: True, None, 1e-05."""
    return {name: str(value) for name, value in config.items() if not isinstance(value, str)}


class ConfigTextsField(TextsField):
    """`texts_of` the field `config`. A database writes these values in other forms than Python.

    `save` and `bulk_create` set it. An update of `config` has to set it too.
    """

    def pre_save(self, model_instance: models.Model, add: bool) -> dict[str, str]:
        texts = texts_of(model_instance.__dict__["config"])
        model_instance.__dict__[self.attname] = texts
        return texts
