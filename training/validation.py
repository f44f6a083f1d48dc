"""Validation of any input against a pydantic model, with a sentence for each invalid field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


class InvalidInputError(ValueError):
    """`errors` maps each invalid field to sentences that say what is wrong."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__(
            "; ".join(f"{field}: {' '.join(sentences)}" for field, sentences in errors.items())
        )
        self.errors = errors


def validate(model: type[Model], data: Mapping[str, Any], *, strict: bool = True) -> Model:
    """Parse `data` or raise InvalidInputError. `strict` converts no types: "5" is not a number."""
    try:
        return model.model_validate_json(json.dumps(_integral(data)), strict=strict)
    except ValidationError as error:
        raise InvalidInputError(_messages(error.errors(), model)) from error


def _integral(data: Any) -> Any:
    """Replace floats without a fraction: 162.0 is an integer in JSON Schema (6.1.1)."""
    match data:
        case float() if data.is_integer() and abs(data) < 2**53:
            return int(data)
        case Mapping():
            return {name: _integral(value) for name, value in data.items()}
        case list():
            return [_integral(value) for value in data]
    return data


def _messages(problems: list[ErrorDetails], model: type[BaseModel]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    containers = {problem["loc"][:1] for problem in problems if len(problem["loc"]) > 1}
    for problem in problems:
        if problem["loc"] in containers:
            continue  # a list is "too short" only because its invalid items were left out
        field, sentence = _message(problem, model)
        errors.setdefault(field, []).append(sentence)
    return errors


# By pydantic's error type; `{value!r}` and the bounds are filled in.
_MESSAGES = {
    "missing": "This field is required.",
    "int_type": "{value!r} is not a whole number.",
    "int_parsing": "{value!r} is not a whole number.",
    "int_from_float": "{value!r} is not a whole number.",
    "float_type": "{value!r} is not a number.",
    "float_parsing": "{value!r} is not a number.",
    "finite_number": "{value!r} is not a finite number.",
    "string_type": "{value!r} is not a string.",
    "greater_than_equal": "{value!r} is too small: at least {ge:g}.",
    "greater_than": "{value!r} is too small: more than {gt:g}.",
    "less_than_equal": "{value!r} is too large: at most {le:g}.",
    "literal_error": "{value!r} is not one of {expected}.",
    "too_short": "Too few: at least {min_length}.",
    "uuid_parsing": "{value!r} is not a UUID.",
    "uuid_type": "{value!r} is not a UUID.",
}


def _message(problem: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    field, kind = ".".join(map(str, problem["loc"])), problem["type"]
    details = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return field, f"Unknown field{_suggestion(field, model)}"
    if kind == "value_error":
        text = str(details["error"])
        return field, f"{text[:1].upper()}{text[1:].rstrip('.')}."
    template = _MESSAGES.get(kind, f"{problem['msg']}.".replace("{", "{{").replace("}", "}}"))
    return field, template.format(value=problem.get("input"), **details)


def _suggestion(field: str, model: type[BaseModel]) -> str:
    close = difflib.get_close_matches(field, model.model_fields, n=1, cutoff=0.65)
    return f"; did you mean {close[0]!r}?" if close else "."


def extract(model: type[Model], source: BaseModel) -> Model:
    """The fields of `model` out of a validated model that has more."""
    return model(**{name: getattr(source, name) for name in model.model_fields})
