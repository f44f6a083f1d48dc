from __future__ import annotations

import pytest

from training.typed_numbers import NumberFormatError, normalize_number


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("-69,0", "-69.0"),
        (" 0,001 ", "0.001"),
        (",5", "0.5"),
        ("12345,678", "12345.678"),
        ("1,5e-3", "1.5e-3"),
        ("−70,5", "-70.5"),
        ("0.5", "0.5"),
        ("1e-4", "1e-4"),
        ("a, b", "a, b"),
        ("", ""),
    ],
)
def test_decimal_commas_are_read_as_such(typed: str, read: str) -> None:
    assert normalize_number(typed) == read


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("1,000", "'1,000' can mean 1.000 or 1000; write one of these."),
        ("-69,125", "'-69,125' can mean -69.125 or -69125; write one of these."),
        ("1,234.5", "'1,234.5' is not a number; write it without separators between thousands."),
        ("1.234,5", "'1.234,5' is not a number; write it without separators between thousands."),
        ("1_0", "'1_0' is not a number; write it with the digits 0 to 9."),
        ("\u0661", "'\u0661' is not a number; write it with the digits 0 to 9."),
        ("1,2,3", "'1,2,3' is not a number; write it without separators between thousands."),
    ],
)
def test_ambiguous_number_is_rejected(typed: str, sentence: str) -> None:
    with pytest.raises(NumberFormatError) as refused:
        normalize_number(typed)
    assert str(refused.value) == sentence
