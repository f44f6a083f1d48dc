from __future__ import annotations

from typing import Any

import pytest

from training.sweeps.search_space import FieldSpace
from training.sweeps.space_syntax import SyntaxFormatError, format_options, parse_options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("  1   to 8 ", {"min": 1, "max": 8}),
        ("1e-4 to 1e-1 log", {"min": 0.0001, "max": 0.1, "log": True}),
        ("0 to 1 step 0.25", {"min": 0, "max": 1, "step": 0.25}),
        ("-5 to -1", {"min": -5, "max": -1}),
        ("5", {"values": [5]}),
        ("a, b ,", {"values": ["a", "b"]}),
        ("1, 2.5, true, null, [1]", {"values": [1, 2.5, True, "null", "[1]"]}),
        ("low to high", {"min": "low", "max": "high"}),
        ("1 to 8 linear", {"values": ["1 to 8 linear"]}),
        ("1 to 8 log step 2", {"values": ["1 to 8 log step 2"]}),
        (",", {"values": []}),
    ],
)
def test_text_is_parsed_leniently_and_validated_later(text: str, options: dict[str, Any]) -> None:
    assert parse_options(text) == options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"values": [1, 2.5, True, "mlp"]}, "1, 2.5, true, mlp"),
        ({"min": 1, "max": 8}, "1 to 8"),
        ({"min": 1, "max": 8, "log": False, "step": 2}, "1 to 8 step 2"),
        ({"min": 0.0001, "max": 0.1, "log": True}, "0.0001 to 0.1 log"),
    ],
)
def test_options_are_formatted_as_they_are_typed(options: FieldSpace, text: str) -> None:
    assert format_options(options) == text


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("0,001 to 0,1 log", {"min": 0.001, "max": 0.1, "log": True}),
        ("0 to 0,5 step 0,25", {"min": 0, "max": 0.5, "step": 0.25}),
        ("0,1; 0,25", {"values": [0.1, 0.25]}),
        ("0,1, 0,25", {"values": [0.1, 0.25]}),
        ("0,01", {"values": [0.01]}),
        ("0.1,0.2", {"values": [0.1, 0.2]}),
        ("1, 2", {"values": [1, 2]}),
    ],
)
def test_decimal_commas_of_a_fractional_parameter_are_read(
    text: str, options: dict[str, Any]
) -> None:
    assert parse_options(text, fractions=True) == options


def test_commas_of_a_whole_numbered_parameter_separate_values() -> None:
    assert parse_options("16,32,64") == {"values": [16, 32, 64]}
    assert parse_options("16; 32") == {"values": [16, 32]}


@pytest.mark.parametrize("text", ["0,1", "1,2,3", "0,1,0,2", "1,000 to 2,000"])
def test_ambiguous_commas_are_rejected(text: str) -> None:
    with pytest.raises(SyntaxFormatError, match="can"):
        parse_options(text, fractions=True)


def test_deeply_nested_text_is_text() -> None:
    assert parse_options("[" * 100_000) == {"values": ["[" * 100_000]}
