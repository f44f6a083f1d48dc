"""Parameters of a program from `key=value`, by its JSON Schema."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli.errors import UsageError

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TYPE_NAMES = {
    "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "null": "null", "array": "a JSON list", "object": "a JSON object",
}  # fmt: skip


def parse_parameters(assignments: Sequence[str], program: str, schema: JsonDict) -> JsonDict:
    properties: JsonDict = schema.get("properties", {})
    found: JsonDict = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise UsageError(f"-p {assignment!r} is not NAME=VALUE.")
        if name not in properties:
            close = difflib.get_close_matches(name, properties, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(properties)}."
            raise UsageError(f"The program {program!r} has no parameter {name!r}; {hint}")
        found[name] = _parse(name, text, properties[name], schema)
    return found


def choices(schema: JsonDict, name: str) -> list[str]:
    """The values of an enum as text; empty for other parameters."""
    whole = schema.get("properties", {}).get(name, {})
    return [_text(value) for one in _alternatives(whole, schema) for value in _allowed(one)]


def _parse(name: str, text: str, field: JsonDict, schema: JsonDict) -> Any:
    """The value in the first of the field's types that the text can be."""
    expected: list[str] = []
    for one in _alternatives(field, schema):
        allowed = _allowed(one)
        for value in allowed:
            if _text(value) == text:
                return value
        if allowed:
            expected.append("one of " + ", ".join(map(_text, allowed)))
            continue
        kind = str(one.get("type", "string"))
        if kind == "string":
            return text
        try:
            return _convert(kind, text)
        except ValueError:
            expected.append(_TYPE_NAMES.get(kind, kind))
    raise UsageError(f"{name}={text!r} is not {' or '.join(expected)}.")


def _alternatives(field: JsonDict, schema: JsonDict) -> Iterator[JsonDict]:
    """The types a field may have; text comes last, since everything is text."""
    if "$ref" in field:
        target: Any = schema
        for part in str(field["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        yield from _alternatives(target, schema)
        return
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in field:
            found = [one for inner in field[keyword] for one in _alternatives(inner, schema)]
            yield from sorted(found, key=lambda one: one.get("type") == "string")
            return
    types = field.get("type")
    if isinstance(types, list):
        inner = [{**field, "type": one} for one in types]
        yield from sorted(inner, key=lambda one: one["type"] == "string")
        return
    yield field


def _allowed(field: JsonDict) -> list[Any]:
    if "const" in field:
        return [field["const"]]
    return list(field.get("enum", []))


def _convert(kind: str, text: str) -> Any:
    """Raise ValueError if the text is not of this JSON type."""
    if kind == "integer":
        number = float(text)
        if not number.is_integer():
            raise ValueError
        return int(text) if text.lstrip("+-").isdigit() else int(number)
    if kind == "number":
        return float(text)
    if kind == "boolean":
        if text.lower() not in _BOOLEANS:
            raise ValueError
        return _BOOLEANS[text.lower()]
    if kind == "null":
        if text.lower() not in ("null", "none", ""):
            raise ValueError
        return None
    value = json.loads(text)
    if isinstance(value, list) != (kind == "array"):
        raise ValueError
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
