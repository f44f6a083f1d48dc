from __future__ import annotations

import pytest

from training.localization.utm import parse_zone, utm_to_geodetic


@pytest.mark.parametrize(
    ("easting", "northing", "zone", "lat", "lon"),
    [
        # On the central meridian: 0.9996 times the length of the meridian, 4,984,944.378 m to 45°.
        (500_000.0, 0.9996 * 4_984_944.378, 32, 45.0, 9.0),
        (448_251.8, 5_411_932.7, 31, 48.8582, 2.2945),  # Eiffel Tower
        # At the edge of its zone.
        (166_021.443, 0.0, 31, 0.0, 0.0),
    ],
)
def test_coordinates_of_known_places(
    easting: float, northing: float, zone: int, lat: float, lon: float
) -> None:
    assert utm_to_geodetic(easting, northing, zone, True) == pytest.approx((lat, lon), abs=1e-5)
    south = utm_to_geodetic(easting, 10_000_000.0 - northing, zone, False)
    assert south == pytest.approx((-lat, lon), abs=1e-5)


def test_meters_are_meters() -> None:
    """Away from the central meridian the scale grows from 0.9996 by the square of the distance."""
    here, there = (utm_to_geodetic(500_000.0, 5e6 + step, 32, True) for step in (0, 1000))
    radius = 6_367_400.0  # of the meridian at 45 degrees, within 0.05 %
    assert (there[0] - here[0]) * radius * 0.0174532925 == pytest.approx(1000 / 0.9996, rel=1e-3)
    assert here[1] == there[1] == 9.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("32N", (32, True)), (" 5 s", (5, False)), ("32T", (32, True)), ("56h", (56, False)),
     ("01C", (1, False)), ("60X", (60, True))],
)  # fmt: skip
def test_zone_has_a_hemisphere_or_a_band(text: str, expected: tuple[int, bool]) -> None:
    assert parse_zone(text) == expected


@pytest.mark.parametrize("text", ["", "32", "61N", "0N", "32I", "32A", "32O", "N32", "132N"])
def test_other_texts_are_not_zones(text: str) -> None:
    with pytest.raises(ValueError, match="is not a UTM zone, such as 32N"):
        parse_zone(text)


@pytest.mark.parametrize(("easting", "northing"), [(9.19, 45.4), (500_000.0, 1.1e7)])
def test_coordinates_outside_of_utm_are_refused(easting: float, northing: float) -> None:
    with pytest.raises(ValueError, match=r"is not between .* m"):
        utm_to_geodetic(easting, northing, 32, True)
