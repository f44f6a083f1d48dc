"""What a sweep varies, as people write it: `16, 32, 64`, `0.0001 to 0.1 log`, `1 to 8 step 1`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_RANGE = re.compile(r"(\S+)\s+to\s+(\S+)(?:\s+(log)|\s+step\s+(\S+))?")
HELP = "16, 32, 64 or 0.0001 to 0.1 log or 1 to 8 step 1"


def parse_options(text: str) -> dict[str, Any]:
    """The options of one field; whether they make sense is not asked here."""
    if found := _RANGE.fullmatch(text.strip()):
        low, high, log, step = found.groups()
        options = {"min": _value(low), "max": _value(high)}
        if log:
            options["log"] = True
        if step:
            options["step"] = _value(step)
        return options
    return {"values": [_value(one) for one in text.split(",") if one.strip()]}


def format_options(given: Mapping[str, Any]) -> str:
    """The reverse."""
    if "values" in given:
        return ", ".join(_text(one) for one in given["values"])
    end = " log" if given.get("log") else f" step {given['step']}" if "step" in given else ""
    return f"{_text(given['min'])} to {_text(given['max'])}{end}"


def _value(text: str) -> Any:
    """A number, true or false as JSON writes it; anything else is a word."""
    text = text.strip()
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float) else text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
