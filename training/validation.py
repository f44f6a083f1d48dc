"""Validation of any input against a pydantic model, with a sentence for each invalid field."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from heimdall_sdk.text import TextError, check_characters

Model = TypeVar("Model", bound=BaseModel)
# Encoders and databases have limits of their own, which differ; these are below all of them.
MAX_DEPTH = 50
MAX_INTEGER = 2**63 - 1
# Each further error would only cost time and memory, and a body of 2 MiB may have 200,000.
MAX_ERRORS = 100
MAX_SHOWN = 100  # characters of a value in a message
TOO_DEEP = f"The body is nested too deeply: at most {MAX_DEPTH} levels."


class InvalidInputError(ValueError):
    """`errors` maps each invalid field to sentences that say what is wrong."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__(
            "; ".join(f"{field}: {' '.join(sentences)}" for field, sentences in errors.items())
        )
        self.errors = errors


def validate(model: type[Model], data: Mapping[str, Any], *, strict: bool = True) -> Model:
    """Parse `data` or raise InvalidInputError. `strict` converts no types: "5" is not a number."""
    text = json.dumps(_checked(data, bounded=_bounded_fields(model)))
    try:
        return model.model_validate_json(text, strict=strict)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        errors = _messages(problems[:MAX_ERRORS], model)
        if len(problems) > MAX_ERRORS:
            rest = f"There are {len(problems) - MAX_ERRORS:,} further errors."
            errors.setdefault("", []).append(rest)
        raise InvalidInputError(errors) from error


def _bounded_fields(model: type[BaseModel]) -> frozenset[str]:
    """Fields with bounds of their own, which answer a huge number better than MAX_INTEGER."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if any(hasattr(constraint, "le") for constraint in field.metadata)
        and any(hasattr(constraint, "ge") for constraint in field.metadata)
    )


def _checked(
    data: Any, path: tuple[str | int, ...] = (), bounded: frozenset[str] = frozenset()
) -> Any:
    """The data; raises InvalidInputError for what some encoder or database cannot hold.

    Floats without a fraction become integers: 162.0 is an integer in JSON Schema (6.1.1).
    """
    if len(path) > MAX_DEPTH:
        raise InvalidInputError({"": [TOO_DEEP]})
    match data:
        case str():
            _check_characters(data, path)
        case float():
            if not math.isfinite(data):
                raise _invalid(path, f"{data!r} is not a finite number.")
            return int(data) if data.is_integer() and abs(data) < 2**53 else data
        case int() if abs(data) > MAX_INTEGER and not (len(path) == 1 and path[0] in bounded):
            raise _invalid(path, f"The number is too large; it must be at most {MAX_INTEGER}.")
        case Mapping():
            return {
                _key(name, path): _checked(value, (*path, name), bounded)
                for name, value in data.items()
            }
        case list() | tuple():
            return [_checked(value, (*path, index)) for index, value in enumerate(data)]
    return data


def _key(name: Any, path: tuple[str | int, ...]) -> Any:
    if isinstance(name, str):
        _check_characters(name, path)
    return name


def _check_characters(text: str, path: tuple[str | int, ...]) -> None:
    try:
        check_characters(text)
    except TextError as error:
        raise _invalid(path, sentence(error)) from None


def _invalid(path: tuple[str | int, ...], message: str) -> InvalidInputError:
    return InvalidInputError({".".join(map(str, path)): [message]})


def sentence(error: ValueError) -> str:
    """The message of an error as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _messages(problems: list[ErrorDetails], model: type[BaseModel]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    containers = {problem["loc"][:1] for problem in problems if len(problem["loc"]) > 1}
    for problem in problems:
        if problem["loc"] in containers:
            continue  # a list is "too short" only because its invalid items were left out
        field, sentence = _message(problem, model)
        errors.setdefault(field, []).append(sentence)
    return errors


# By pydantic's error type; the value and the bounds are filled in.
_MESSAGES = {
    "missing": "This field is required.",
    "int_type": "{value} is not a whole number.",
    "int_parsing": "{value} is not a whole number.",
    "int_parsing_size": "{value} is too large.",
    "int_from_float": "{value} is not a whole number.",
    "float_type": "{value} is not a number.",
    "float_parsing": "{value} is not a number.",
    "finite_number": "{value} is not a finite number.",
    "string_type": "{value} is not a string.",
    "greater_than_equal": "{value} is too small; it must be at least {ge}.",
    "greater_than": "{value} is too small; it must be greater than {gt}.",
    "less_than_equal": "{value} is too large; it must be at most {le}.",
    "literal_error": "{value} is not one of {expected}.",
    "too_short": "Too few items; at least {min_length} required.",
    "too_long": "Too many items; at most {max_length} allowed.",
    "string_too_short": "Too short ({length} characters); at least {min_length} required.",
    "string_too_long": "Too long ({length} characters); at most {max_length} allowed.",
    "uuid_parsing": "{value} is not a UUID.",
    "uuid_type": "{value} is not a UUID.",
    "model_type": "This must be an object.",
    "dict_type": "This must be an object.",
    "list_type": "This must be a list.",
    "tuple_type": "This must be a list.",
    "bool_type": "This must be true or false.",
    "bool_parsing": "{value} is not a boolean; use true or false.",
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing", "timezone_aware"),
        "This must be a date and time with an offset, such as 2026-01-31T12:00:00Z.",
    ),
}
# The same messages for the validators of Django and DRF: their code, our message and its bound.
_VALIDATORS = {
    "min_value": ("greater_than_equal", "ge"),
    "max_value": ("less_than_equal", "le"),
    "min_length": ("string_too_short", "min_length"),
    "max_length": ("string_too_long", "max_length"),
}


def _message(problem: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    field, kind = ".".join(map(str, problem["loc"])), problem["type"]
    if kind in ("too_short", "too_long") and isinstance(problem.get("input"), str):
        kind = f"string_{kind}"  # pydantic's own name, unless another validator comes first
    details = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return field, f"Unknown field{_suggestion(field, model)}"
    if kind == "value_error":
        return field, sentence(details["error"])
    if kind not in _MESSAGES:
        return field, f"{problem['msg']}."
    return field, _fill(kind, problem.get("input"), details)


def validator_message(code: str, value: object, bound: float) -> str | None:
    """Return the message for a validator of Django or DRF; None if its own is good enough."""
    if code not in _VALIDATORS:
        return None
    kind, name = _VALIDATORS[code]
    return _fill(kind, value, {name: bound})


def type_message(kind: type, value: object) -> str:
    """Return the message for a value that is no number of this kind."""
    return _fill("int_type" if kind is int else "float_type", value, {})


def _fill(kind: str, value: object, details: Mapping[str, object]) -> str:
    length = len(value) if isinstance(value, str) else 0
    shown = {name: _shown_bound(detail) for name, detail in details.items()}
    return _MESSAGES[kind].format(value=shown_value(value), length=length, **shown)


def shown_value(value: object) -> str:
    """The value as the client sent it: `true`, not `True`. A long one is cut."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    text = repr(value) if is_plain else json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _shown_bound(bound: object) -> object:
    if isinstance(bound, float):
        return f"{bound:.0f}" if bound.is_integer() and abs(bound) < 1e15 else f"{bound:g}"
    return bound


def _suggestion(field: str, model: type[BaseModel]) -> str:
    close = difflib.get_close_matches(field, model.model_fields, n=1, cutoff=0.65)
    return f"; did you mean {close[0]!r}?" if close else "."


def extract(model: type[Model], source: BaseModel) -> Model:
    """The fields of `model` out of a validated model that has more."""
    return model(**{name: getattr(source, name) for name in model.model_fields})
