from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from training.web import formatting


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (float("nan"), "–"), (7.25, "7.2 m"), (340.4, "340 m"), (9_999, "9999 m"),
     (12_345, "12.35 km")],
)  # fmt: skip
def test_distances(value: float | None, said: str) -> None:
    assert formatting.format_distance(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (1.23456, "1.235"), (-12.3456, "-12.35"), (12_345, "12345"), (1.5e-5, "1.50e-5"),
     (2.5e7, "2.50e7")],
)  # fmt: skip
def test_figures_have_four_digits(value: float, said: str) -> None:
    assert formatting.format_number(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0, "1 s"), (42.4, "42 s"), (81, "1 min 20 s"), (3020, "50 min"), (7300, "2 h"),
     (100_000, "1 d 4 h")],
)  # fmt: skip
def test_what_is_left_is_rounded_by_no_more_than_a_twentieth(
    seconds: float | None, said: str
) -> None:
    assert formatting.format_eta(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ("–", "")), (0.476, ("2.1", "epochs/s")), (1.0, ("1.0 s", "an epoch")),
     (12.3, ("12 s", "an epoch")), (80, ("1 min 20 s", "an epoch"))],
)  # fmt: skip
def test_a_pace_is_said_as_it_is_read(seconds: float | None, said: tuple[str, str]) -> None:
    assert formatting.format_rate(seconds) == said


def test_durations_ages_and_sizes() -> None:
    assert [formatting.format_duration(s) for s in (5, 65, 3700, 90_000)] == [
        "5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h",
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
