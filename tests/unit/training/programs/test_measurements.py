from __future__ import annotations

import math

import pytest

from training.programs.measurements import (
    ExactFloat,
    MeasurementError,
    parse_number,
    relative_arrivals,
)

START = 1_764_124_800_123_456_789


def test_arrival_times_since_1970_keep_every_digit() -> None:
    assert relative_arrivals(["a", "a", "b"], [START + 7, START, START]) == [7.0, 0.0, 0.0]


def test_fractions_of_a_nanosecond_since_1970_are_kept() -> None:
    sent = [ExactFloat(f"{START}.25"), ExactFloat(f"{START}.75")]
    assert relative_arrivals(["a", "a"], sent) == [0.0, 0.5]


def test_missing_arrival_times_stay_missing() -> None:
    assert relative_arrivals(["a", "a"], [None, 5.0]) == [None, 0.0]


def test_arrivals_too_far_apart_for_one_clock_are_an_error() -> None:
    with pytest.raises(MeasurementError, match="the toa_ns of sample 'a' are 1e"):
        relative_arrivals(["a", "a"], [0, 10**10])


def test_exponent_beyond_decimal_is_a_number() -> None:
    assert relative_arrivals(["a"], [ExactFloat("1e-9999999999999999999999")]) == [0.0]


@pytest.mark.parametrize("text", ["1_000", "٣", "0x10", "1e", "", "1,5", "--1", "1 000"])
def test_number_syntax_that_only_python_accepts_is_an_error(text: str) -> None:
    with pytest.raises(MeasurementError, match="is not a number"):
        parse_number("snr_db", text)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999"])
def test_non_finite_number_is_an_error(text: str) -> None:
    with pytest.raises(MeasurementError, match="is not a finite number"):
        parse_number("snr_db", text)


@pytest.mark.parametrize("text", ["1", "+1.", ".5", "-1.5e-3", "1E2"])
def test_plain_number_is_read(text: str) -> None:
    assert parse_number("snr_db", text) == float(text)
    assert math.isfinite(parse_number("other", text))
