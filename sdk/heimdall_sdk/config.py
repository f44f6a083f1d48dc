"""The arguments of `init` as plain JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Union

from heimdall_sdk.messages import Objective
from heimdall_sdk.reporter import NON_FINITE

JsonDict = dict[str, Any]
# Heimdall rejects a larger configuration.
MAX_BYTES, MAX_NAMES = 256 * 1024, 2000
_SHOWN_NAMES = 5
# "val_loss", ("accuracy", "maximize"), {"metric": …, "direction": …} or an Objective.
ObjectiveArgument = Union[str, tuple[str, str], Mapping[str, str], Objective]  # noqa: UP007


def to_dict(config: object) -> JsonDict:
    """Copy a mapping, a dataclass or a namespace, such as that of argparse, into a dict."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return {str(name): value for name, value in config.items()}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if hasattr(config, "__dict__"):
        return {name: value for name, value in vars(config).items() if not name.startswith("_")}
    raise TypeError(
        f"config is a {type(config).__name__}; pass a dict, a dataclass or an argparse namespace"
    )


def to_json(value: object) -> Any:
    """Convert to strict JSON; values of other types are represented by their text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else NON_FINITE[repr(float(value))]
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(to_dict(value))
    if isinstance(value, Iterable) and isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    return str(value)


def fit_config(config: JsonDict) -> tuple[JsonDict, str]:
    """What of a JSON object Heimdall accepts, and a sentence that names the rest, if any.

    The largest values are left out, and names beyond the first MAX_NAMES.
    """
    kept = dict(list(config.items())[:MAX_NAMES])
    sizes = {name: _size(name) + _size(value) + len(":,") for name, value in kept.items()}
    excess = sum(sizes.values()) + len("{}") - len(",") - MAX_BYTES
    for name in sorted(kept, key=lambda name: sizes[name], reverse=True):
        if excess <= 0:
            break
        excess -= sizes[name]
        del kept[name]
    omitted = [name[:100] for name in config if name not in kept]
    if not omitted:
        return kept, ""
    rest = len(omitted) - _SHOWN_NAMES
    names = ", ".join(omitted[:_SHOWN_NAMES]) + (f" and {rest:,} more" if rest > 0 else "")
    limit = f"{MAX_NAMES:,} names and {MAX_BYTES:,} bytes"
    return kept, f"config is larger than {limit} of JSON; it is reported without {names}."


def _size(value: object) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode(errors="replace"))


def to_objective(argument: ObjectiveArgument | None) -> Objective | None:
    if argument is None or isinstance(argument, Objective):
        return argument
    metric, direction = "", "minimize"
    if isinstance(argument, str):
        metric = argument
    elif isinstance(argument, Mapping):
        metric, direction = argument.get("metric", ""), argument.get("direction", direction)
    else:
        metric, direction = argument
    if not metric or direction not in ("minimize", "maximize"):
        raise ValueError(
            f"objective is {argument!r}; pass a metric's name, or the name with 'minimize' or "
            "'maximize'"
        )
    return Objective(metric=metric, direction="maximize" if direction == "maximize" else "minimize")
