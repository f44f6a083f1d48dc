"""Types of the texts in request bodies, normalized by the rule in `heimdall_sdk.text`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from heimdall_sdk.text import normalize_name, normalize_text


def _normalize_if_text(value: object) -> object:
    return normalize_text(value) if isinstance(value, str) else value


def _normalize_if_name(value: object) -> object:
    return normalize_name(value) if isinstance(value, str) else value


MAX_METRIC_NAME = 250

# Lengths are those of the normalized text.
Text = Annotated[str, BeforeValidator(_normalize_if_text)]
Name = Annotated[str, BeforeValidator(_normalize_if_name)]
