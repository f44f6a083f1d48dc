"""What people send to start something, checked at the door: a sentence for each wrong field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


class InvalidInputError(ValueError):
    """`errors`: for each field what is wrong with it, in sentences."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(said)}" for name, said in errors.items()))
        self.errors = errors


def validate(model: type[Model], sent: Mapping[str, Any], *, strict: bool = True) -> Model:
    """`sent` as the model; `strict`: JSON's types are meant as they are, "5" is no number."""
    try:
        return model.model_validate_json(json.dumps(_integral(sent)), strict=strict)
    except ValidationError as error:
        raise InvalidInputError(_messages(error.errors(), model)) from error


def _integral(sent: Any) -> Any:
    """JSON has one kind of number: 162.0 is a whole one (JSON Schema, 6.1.1)."""
    match sent:
        case float() if sent.is_integer() and abs(sent) < 2**53:
            return int(sent)
        case Mapping():
            return {name: _integral(value) for name, value in sent.items()}
        case list():
            return [_integral(value) for value in sent]
    return sent


def _messages(problems: list[ErrorDetails], model: type[BaseModel]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    inner = {problem["loc"][:1] for problem in problems if len(problem["loc"]) > 1}
    for problem in problems:
        if problem["loc"] in inner:
            continue  # a list is "too short" only because its wrong items were left out
        field, sentence = _message(problem, model)
        errors.setdefault(field, []).append(sentence)
    return errors


# What pydantic calls it, and how we say it; `{value!r}` and the bounds are filled in.
_MESSAGES = {
    "missing": "This field is required.",
    "int_type": "{value!r} is not a whole number.",
    "int_parsing": "{value!r} is not a whole number.",
    "int_from_float": "{value!r} is not a whole number.",
    "float_type": "{value!r} is not a number.",
    "float_parsing": "{value!r} is not a number.",
    "finite_number": "{value!r} is not a finite number.",
    "string_type": "{value!r} is not a text.",
    "greater_than_equal": "{value!r} is too small: at least {ge:g}.",
    "greater_than": "{value!r} is too small: more than {gt:g}.",
    "less_than_equal": "{value!r} is too large: at most {le:g}.",
    "literal_error": "{value!r} is not one of {expected}.",
    "uuid_parsing": "{value!r} is not a UUID.",
    "uuid_type": "{value!r} is not a UUID.",
}


def _message(problem: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """The field, and what is wrong with it."""
    field, kind = ".".join(map(str, problem["loc"])), problem["type"]
    details = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return field, f"Unknown field{_suggestion(field, model)}"
    if kind == "value_error" and not field:
        # A rule over several fields begins with the name of the one it is about.
        named, _, said = str(details["error"]).partition(": ")
        return named, f"{said[:1].upper()}{said[1:].rstrip('.')}."
    said = _MESSAGES.get(kind, f"{problem['msg']}.".replace("{", "{{").replace("}", "}}"))
    return field, said.format(value=problem.get("input"), **details)


def _suggestion(field: str, model: type[BaseModel]) -> str:
    close = difflib.get_close_matches(field, model.model_fields, n=1, cutoff=0.65)
    return f"; did you mean {close[0]!r}?" if close else "."
