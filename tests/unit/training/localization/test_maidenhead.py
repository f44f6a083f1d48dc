"""Maidenhead locators to positions and back."""

from __future__ import annotations

import math

import pytest

from training.localization.maidenhead import format_locator, parse_locator


@pytest.mark.parametrize(
    ("locator", "position"),
    [("JN45", (45.5, 9.0)), ("JN", (45.0, 10.0)), ("FN31pr", (41.7291667, -72.7083333))],
)
def test_locator_is_the_center_of_its_square(locator: str, position: tuple[float, float]) -> None:
    assert parse_locator(locator) == pytest.approx(position)


def test_text_that_is_not_a_locator_is_rejected() -> None:
    with pytest.raises(ValueError, match="'ZZ99' is not a Maidenhead locator"):
        parse_locator("ZZ99")


@pytest.mark.parametrize(
    ("position", "locator"),
    [
        ((45.07, 7.69), "JN35ub"),  # Torino
        ((41.714775, -72.727260), "FN31pr"),  # the ARRL's station W1AW
        ((48.14666, 11.60833), "JN58td"),  # Munich, the example of the standard
        ((-34.91, -56.21166), "GF15vc"),  # Montevideo
        ((90.0, 180.0), "AR09ax"),
        ((-90.0, -180.0), "AA00aa"),
    ],
)
def test_position_has_the_locator_of_published_examples(
    position: tuple[float, float], locator: str
) -> None:
    assert format_locator(*position, extent_m=5000) == locator


@pytest.mark.parametrize(
    ("extent", "characters"), [(1e6, 6), (500, 6), (400, 8), (20, 8), (15, 10)]
)
def test_smaller_ellipse_has_a_longer_locator(extent: float, characters: int) -> None:
    locator = format_locator(45.07, 7.69, extent)
    assert len(locator) == characters
    lat, lon = parse_locator(locator)
    assert (lat, lon) == pytest.approx((45.07, 7.69), abs=0.05)


def test_position_off_the_globe_has_no_locator() -> None:
    assert format_locator(math.nan, math.nan, 10.0) == ""
