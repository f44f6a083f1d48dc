from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import AwareDatetime, BaseModel

from training.localization.config import GenerateConfig, TrainConfig
from training.validation import MAX_DEPTH, MAX_ERRORS, TOO_DEEP, InvalidInputError, validate


def errors(sent: dict[str, Any]) -> dict[str, list[str]]:
    with pytest.raises(InvalidInputError) as refused:
        validate(TrainConfig, sent)
    return refused.value.errors


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"epochs": 0}, "0 is too small; it must be at least 1."),
        ({"epochs": 10**9}, "1000000000 is too large; it must be at most 100000."),
        ({"epochs": 10**30}, f"{10**30} is too large; it must be at most 100000."),
        ({"epochs": -(10**30)}, f"{-(10**30)} is too small; it must be at least 1."),
        ({"epochs": "x" * 500}, f"'{'x' * 99}… is not a whole number."),
        ({"epochs": {"a": True}}, '{"a": true} is not a whole number.'),
        ({"epochs": "ten"}, "'ten' is not a whole number."),
        ({"epochs": "10"}, "'10' is not a whole number."),
        ({"epochs": 1.5}, "1.5 is not a whole number."),
        ({"epochs": None}, "null is not a whole number."),
        ({"epochs": True}, "true is not a whole number."),
        ({"learning_rate": 0}, "0 is too small; it must be greater than 0."),
        ({"learning_rate": "fast"}, "'fast' is not a number."),
        ({"dropout": "a lot"}, "'a lot' is not a number."),
        ({"model": "magic"}, "'magic' is not one of 'mlp' or 'attention'."),
        (
            {"heads": 3},
            "3 does not divide the width (hidden = 256); choose a width that is a multiple of",
        ),
        ({"epoch": 5}, "Unknown field; did you mean 'epochs'?"),
        ({"qqq": 5}, "Unknown field."),
    ],
)
def test_invalid_field_gets_a_sentence(sent: dict[str, Any], sentence: str) -> None:
    (field,) = sent
    assert errors(sent)[field][0].startswith(sentence)


def test_errors_of_a_generation_state_bounds_and_types_in_plain_words() -> None:
    with pytest.raises(InvalidInputError) as refused:
        validate(GenerateConfig, {"samples": 10**9, "receivers": 3})
    assert refused.value.errors == {
        "samples": ["1000000000 is too large; it must be at most 2000000."],
        "receivers": ["This must be a list."],
    }


def test_all_invalid_fields_are_reported_together() -> None:
    assert set(errors({"epochs": 0, "batch_size": "x", "color": 1})) == {
        "epochs",
        "batch_size",
        "color",
    }


def test_float_without_fraction_is_an_integer_as_in_the_schema() -> None:
    wanted = validate(TrainConfig, {"epochs": 162.0, "learning_rate": 1e-3})
    assert (wanted.epochs, wanted.learning_rate) == (162, 1e-3)


def test_integer_is_accepted_for_a_float_field() -> None:
    assert validate(TrainConfig, {"learning_rate": 1}).learning_rate == 1


def test_list_of_receivers_is_validated() -> None:
    receivers = [{"name": "hill", "lat": 45, "lon": 7}, {"name": "town", "lat": 45.1, "lon": 7}]
    assert validate(GenerateConfig, {"receivers": receivers}).receivers[1].name == "town"


def test_invalid_receiver_is_reported_with_its_index() -> None:
    with pytest.raises(InvalidInputError) as refused:
        validate(GenerateConfig, {"receivers": [{"name": "hill", "lat": 95, "lon": 7}]})
    assert refused.value.errors == {"receivers.0.lat": ["95 is too large; it must be at most 90."]}


def test_heads_that_do_not_divide_the_width_are_reported_with_other_errors() -> None:
    found = errors({"hidden": 18, "epochs": 0})
    assert set(found) == {"heads", "epochs"}
    assert found["heads"][0].startswith("4 does not divide the width (hidden = 18)")


def test_heads_are_not_compared_with_an_invalid_width() -> None:
    assert set(errors({"hidden": 3, "heads": 5})) == {"hidden"}


def test_receivers_too_far_apart_are_reported_under_their_field() -> None:
    receivers = [{"name": "a", "lat": 45, "lon": 7}, {"name": "b", "lat": 7, "lon": 45}]
    with pytest.raises(InvalidInputError) as refused:
        validate(GenerateConfig, {"receivers": receivers})
    (sentence,) = refused.value.errors["receivers"]
    assert sentence.startswith("'a' and 'b' are ")


class Anything(BaseModel):
    value: Any = None


def error_of(value: object) -> dict[str, list[str]]:
    with pytest.raises(InvalidInputError) as refused:
        validate(Anything, {"value": value})
    return refused.value.errors


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_up_to_the_limit_is_accepted_and_deeper_is_an_error() -> None:
    deep = nested(MAX_DEPTH - 1)
    assert validate(Anything, {"value": deep}).value == deep
    assert error_of(nested(MAX_DEPTH)) == {"": [TOO_DEEP]}
    assert error_of(nested(100_000)) == {"": [TOO_DEEP]}


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**4000])
def test_integer_of_more_than_64_bits_is_an_error(number: int) -> None:
    assert error_of([number]) == {
        "value.0": ["The number is too large; it must be at most 9223372036854775807."]
    }


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_float_that_json_does_not_know_is_an_error(number: float) -> None:
    assert error_of({"lr": number}) == {"value.lr": [f"{number!r} is not a finite number."]}


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "a\x1bb", "a\uffffb"])
@pytest.mark.parametrize("as_key", [False, True])
def test_text_that_one_database_cannot_store_is_an_error_on_both(text: str, as_key: bool) -> None:
    (sentences,) = error_of({text: 1} if as_key else [text]).values()
    assert sentences[0].startswith("Contains the ")
    assert sentences[0].endswith("which is not allowed; remove it.")


class Shapes(BaseModel):
    words: list[str] = []
    limits: dict[str, int] = {}
    config: TrainConfig | None = None
    active: bool = False
    at: AwareDatetime | None = None


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("words", "x", "This must be a list."),
        ("limits", [], "This must be an object."),
        ("config", 5, "This must be an object."),
        ("active", "yes", "This must be true or false."),
        ("active", 1, "This must be true or false."),
        ("at", "x", "This must be a date and time with an offset"),
        ("at", 5, "This must be a date and time with an offset"),
        ("at", "2026-01-31", "This must be a date and time with an offset"),
        ("at", "2026-01-31T12:00:00", "This must be a date and time with an offset"),
    ],
)
def test_value_of_another_type_gets_a_sentence(field: str, value: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        validate(Shapes, {field: value})
    assert refused.value.errors[field][0].startswith(sentence)


def test_number_of_errors_of_one_body_is_bounded() -> None:
    found = errors({f"field{n}": n for n in range(5000)})
    assert len(found) == MAX_ERRORS + 1
    assert found[""] == ["There are 4,900 further errors."]
