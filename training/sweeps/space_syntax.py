"""The text form of a search space: `16, 32, 64`, `0.0001 to 0.1 log`, `1 to 8 step 1`."""

from __future__ import annotations

import json
import re

from pydantic import JsonValue

from training.sweeps.search_space import FieldSpace, ParameterValue
from training.typed_numbers import NumberFormatError, normalize_number

_RANGE = re.compile(r"(\S+)\s+to\s+(\S+)(?:\s+(log)|\s+step\s+(\S+))?")
_ITEM_WITH_COMMA = re.compile(r"[+-]?\d*,\d")
HELP = "16, 32, 64 or 0.0001 to 0.1 log or 1 to 8 step 1"
SEPARATE = "separate values by a semicolon, or by a comma and a space"


class SyntaxFormatError(ValueError):
    """The text can be read in two ways; the message names them."""


def parse_options(text: str, *, fractions: bool = False) -> dict[str, JsonValue]:
    """`fractions`: the parameter's values may have decimals, so a comma may be a decimal one."""
    if match := _RANGE.fullmatch(text.strip()):
        low, high, log, step = (_decimal_point(part, fractions) for part in match.groups())
        options: dict[str, JsonValue] = {"min": _parse_value(low), "max": _parse_value(high)}
        if log:
            options["log"] = True
        if step:
            options["step"] = _parse_value(step)
        return options
    return {
        "values": [
            _parse_value(_decimal_point(item, fractions))
            for item in _split(text.strip(), fractions)
            if item.strip()
        ]
    }


def _split(text: str, fractions: bool) -> list[str]:
    """`16,32` are two values of a whole-numbered parameter, and unclear for another one."""
    if ";" in text:
        return text.split(";")
    if not fractions or "." in text or not _ITEM_WITH_COMMA.search(text):
        return text.split(",")
    items = re.split(r",\s+", text)
    if len(items) > 1 or re.fullmatch(r"[+-]?\d*,0\d+", text):  # 0,01 lists no number "01"
        return items
    if text.count(",") > 1:
        raise SyntaxFormatError(f"{text!r} can be read in several ways; {SEPARATE}.")
    raise SyntaxFormatError(
        f"{text!r} can mean {text.replace(',', '.')} or the values {text.replace(',', ' and ')}; "
        f"write a decimal point, or {SEPARATE}."
    )


def _decimal_point(text: str, fractions: bool) -> str:
    if not text or not fractions:
        return text
    try:
        return normalize_number(text)
    except NumberFormatError as error:
        raise SyntaxFormatError(str(error)) from error


def format_options(options: FieldSpace) -> str:
    if "values" in options:
        return ", ".join(_format_value(value) for value in options["values"])
    suffix = ""
    if options.get("log"):
        suffix = " log"
    elif "step" in options:
        suffix = f" step {options['step']}"
    return f"{_format_value(options['min'])} to {_format_value(options['max'])}{suffix}"


def _parse_value(text: str) -> ParameterValue:
    """A number or boolean in JSON notation; any other text is a string."""
    text = text.strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float) else text


def _format_value(value: ParameterValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
