"""The text form of a search space: `16, 32, 64`, `0.0001 to 0.1 log`, `1 to 8 step 1`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_RANGE = re.compile(r"(\S+)\s+to\s+(\S+)(?:\s+(log)|\s+step\s+(\S+))?")
HELP = "16, 32, 64 or 0.0001 to 0.1 log or 1 to 8 step 1"


def parse_options(text: str) -> dict[str, Any]:
    """The options of one field. `training.sweeps.spec` validates them."""
    if match := _RANGE.fullmatch(text.strip()):
        low, high, log, step = match.groups()
        options = {"min": _parse_value(low), "max": _parse_value(high)}
        if log:
            options["log"] = True
        if step:
            options["step"] = _parse_value(step)
        return options
    return {"values": [_parse_value(item) for item in text.split(",") if item.strip()]}


def format_options(options: Mapping[str, Any]) -> str:
    """The inverse of `parse_options`."""
    if "values" in options:
        return ", ".join(_format_value(value) for value in options["values"])
    suffix = ""
    if options.get("log"):
        suffix = " log"
    elif "step" in options:
        suffix = f" step {options['step']}"
    return f"{_format_value(options['min'])} to {_format_value(options['max'])}{suffix}"


def _parse_value(text: str) -> Any:
    """A number or boolean in JSON notation; any other text is a string."""
    text = text.strip()
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def _format_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
