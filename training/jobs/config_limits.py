"""Limits of a job's configuration, which lists and events contain whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

MAX_CONFIG_BYTES = 256_000  # as JSON
MAX_CONFIG_NAMES = 2000


def config_problem(config: Mapping[str, Any]) -> str | None:
    """A sentence with the exceeded limit."""
    if len(config) > MAX_CONFIG_NAMES:
        return (
            f"The configuration has {len(config):,} names; the limit is {MAX_CONFIG_NAMES:,} names."
        )
    size = len(orjson.dumps(dict(config)))
    if size > MAX_CONFIG_BYTES:
        return f"The configuration has {size:,} bytes; the limit is {MAX_CONFIG_BYTES:,} bytes."
    return None
