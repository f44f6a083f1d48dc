from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from training.web import formatting


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (float("nan"), "–"), (7.25, "7.3 m"), (-0.04, "0.0 m"),
     (340.4, "340 m"), (9_999, "9,999 m"),
     (12_345, "12.35 km"), (1_837_610, "1,837.61 km"),
     (1e200, "1.00e197 km"), (-1e308, "-1.00e305 km")],
)  # fmt: skip
def test_distances_are_formatted_with_units(value: float | None, expected: str) -> None:
    assert formatting.format_distance(value) == expected


def test_axes_of_an_ellipse_have_one_unit() -> None:
    assert formatting.format_axes(204_604.0, 130_740.0) == "205 × 131 km"
    assert formatting.format_axes(18_000.0, 80.0) == "18,000 × 80.0 m"
    assert formatting.format_axes(2.52, 0.31) == "2.5 × 0.3 m"
    assert formatting.format_axes(math.inf, 1.0) == "– × 1.0 m"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (1.23456, "1.235"), (-12.3456, "-12.35"), (12_345, "12,345"), (1.5e-5, "1.50e-5"),
     (2.5e7, "2.50e7")],
)  # fmt: skip
def test_numbers_have_four_significant_digits(value: float, expected: str) -> None:
    assert formatting.format_number(value) == expected


@pytest.mark.parametrize(
    ("kilometers", "expected"),
    [(None, "–"), ([186.7, 160.04], "187 × 160 km"), ([2.2, 1.66], "2.2 × 1.7 km"),
     ([0.095, 0.04], "95 × 40 m")],
)  # fmt: skip
def test_area_has_a_unit_that_fits_its_size(kilometers: list[float] | None, expected: str) -> None:
    assert formatting.format_area(kilometers) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, ""), (0, "1 s"), (42.4, "42 s"), (81, "1 min 20 s"), (3020, "50 min"), (7300, "2 h"),
     (100_000, "1 d 4 h")],
)  # fmt: skip
def test_eta_is_rounded_by_at_most_a_twentieth(seconds: float | None, expected: str) -> None:
    assert formatting.format_eta(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, ("–", "")), (0.476, ("2.1", "epochs/s")), (1.0, ("1.0 s", "per epoch")),
     (12.3, ("12 s", "per epoch")), (80, ("1 min 20 s", "per epoch"))],
)  # fmt: skip
def test_rate_uses_epochs_per_second_or_time_per_epoch(
    seconds: float | None, expected: tuple[str, str]
) -> None:
    assert formatting.format_rate(seconds) == expected


def test_durations_ages_and_sizes_are_formatted() -> None:
    assert [formatting.format_duration(s) for s in (0.5, 5, 65, 3700, 90_000)] == [
        "1 s", "5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h",
    ]  # fmt: skip
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert formatting.format_age(now - timedelta(minutes=90), now) == "1 h ago"
    assert formatting.format_age(None, now) == "–"
    assert [formatting.format_size(n) for n in (12, 1500, 2_500_000)] == [
        "12 B",
        "1.5 kB",
        "2.5 MB",
    ]
    assert formatting.format_percent(0.683) == "68.3 %"
