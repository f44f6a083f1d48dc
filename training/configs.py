"""What people send to start something, checked at the door: a sentence for each wrong field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


class BadConfig(ValueError):
    """`errors`: for each field what is wrong with it, in sentences."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(said)}" for name, said in errors.items()))
        self.errors = errors


def read(model: type[Model], sent: Mapping[str, Any], *, strict: bool = True) -> Model:
    """`sent` as the model; `strict`: JSON's types are meant as they are, "5" is no number."""
    try:
        return model.model_validate_json(json.dumps(sent), strict=strict)
    except ValidationError as error:
        raise BadConfig(_sentences(error.errors(), model)) from error


def _sentences(problems: list[ErrorDetails], model: type[BaseModel]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for problem in problems:
        field, sentence = _sentence(problem, model)
        errors.setdefault(field, []).append(sentence)
    return errors


def _sentence(problem: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    field, value = ".".join(map(str, problem["loc"])), problem.get("input")
    bound = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            return field, f"Unknown field{_nearest(field, model)}."
        case "missing":
            return field, "This field is required."
        case "int_type" | "int_parsing" | "int_from_float":
            return field, f"{value!r} is not a whole number."
        case "float_type" | "float_parsing" | "finite_number":
            return field, f"{value!r} is not a number."
        case "greater_than_equal":
            return field, f"{value!r} is too small: at least {bound['ge']:g}."
        case "greater_than":
            return field, f"{value!r} is too small: more than {bound['gt']:g}."
        case "less_than_equal":
            return field, f"{value!r} is too large: at most {bound['le']:g}."
        case "literal_error":
            return field, f"{value!r} is not one of {bound['expected']}."
        case "uuid_parsing" | "uuid_type":
            return field, f"{value!r} is not a UUID."
        case "value_error" if not field:
            # A rule over several fields begins with the name of the one it is about.
            named, _, said = str(bound["error"]).partition(": ")
            return named, f"{said[:1].upper()}{said[1:]}."
        case _:
            return field, f"{problem['msg']}."


def _nearest(field: str, model: type[BaseModel]) -> str:
    close = difflib.get_close_matches(field, model.model_fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
