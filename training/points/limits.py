"""What may be stored as a point; each violation is a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from training.text import MAX_METRIC_NAME

MAX_SERIES = 10_000
MAX_NAME_LENGTH = MAX_METRIC_NAME
# Doubles, in which JavaScript keeps steps, are exact up to here.
MAX_STEP = 2**53 - 1
MAX_EPOCH = 2**31 - 1
MAX_TIME = 9e15  # in milliseconds, a time of MLflow, it fits into 64 bits
NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def refuse_name(name: object) -> str:
    """Why a series cannot have this name; empty if it can."""
    if not isinstance(name, str) or not name:
        return "A name is a string of at least one character."
    if len(name) > MAX_NAME_LENGTH:
        return (
            f"The name {name[:40]!r}… has {len(name)} characters; at most {MAX_NAME_LENGTH} "
            "are allowed."
        )
    if not name.isprintable():
        return f"The name {name[:60]!r} contains a control character; use printable ones."
    if name != name.strip():
        return f"The name {name!r} begins or ends with a space; remove it."
    return ""


def refuse_value(name: str, value: object) -> str:
    """Why this cannot be a value; empty if it can. NaN and infinities are strings in JSON."""
    if type(value) in (int, float):
        if isinstance(value, int) and abs(value) > 10**308:
            return f"The value of {name!r} is too large for a 64-bit float."
        return ""
    if isinstance(value, str) and value in NOT_FINITE:
        return ""
    expected = "a number, or one of " + ", ".join(f'"{one}"' for one in NOT_FINITE)
    return f"The value of {name!r} is {_short(value)}, not {expected}."


def refuse_point(step: object, time: object, epoch: object, values: object) -> str:
    """Why the fields cannot be a point, except for its names; empty if they can."""
    if type(step) is not int or not 0 <= step <= MAX_STEP:
        return f"step is {_short(step)}, not a whole number from 0 to {MAX_STEP}."
    if type(time) not in (int, float) or not abs(time) <= MAX_TIME:  # type: ignore[arg-type]
        return f"time is {_short(time)}, not seconds since 1970 as a number up to {MAX_TIME:g}."
    if epoch is not None and (type(epoch) is not int or not 0 <= epoch <= MAX_EPOCH):
        return f"epoch is {_short(epoch)}, not a whole number from 0 to {MAX_EPOCH}."
    if not isinstance(values, Mapping):
        return f"values is {_short(values)}, not an object of numbers by name."
    if not values:
        return "values is empty; give at least one number by name."
    return ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
