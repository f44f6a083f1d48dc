"""How large the configuration of a job may be: each row of a list and each event carries it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from pydantic import JsonValue

MAX_CONFIG_BYTES = 256 * 1024
MAX_CONFIG_NAMES = 2000


def config_problem(config: Mapping[str, JsonValue]) -> str | None:
    """Why the configuration is too large, as a sentence; None if it is not."""
    if len(config) > MAX_CONFIG_NAMES:
        return (
            f"The configuration has {len(config):,} names, and the limit is {MAX_CONFIG_NAMES:,}."
        )
    size = len(orjson.dumps(config))
    if size > MAX_CONFIG_BYTES:
        return (
            f"The configuration has {size:,} bytes as JSON, and the limit is {MAX_CONFIG_BYTES:,}."
        )
    return None
