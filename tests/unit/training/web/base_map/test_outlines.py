"""Coasts and borders at places that an atlas shows."""

from __future__ import annotations

import numpy as np
import pytest

from training.web.base_map.outlines import Outline, outlines_within


def around(lat: float, lon: float, degrees: float) -> list[Outline]:
    return list(outlines_within((lat - degrees, lat + degrees), (lon - degrees, lon + degrees)))


def distance_km(found: list[Outline], lat: float, lon: float) -> float:
    """To the nearest point of a line; lines have one at least every few kilometers."""
    return min(
        float(np.hypot(line.lat - lat, (line.lon - lon) * np.cos(np.radians(lat))).min()) * 111.2
        for line in found
    )


@pytest.mark.parametrize(
    ("lat", "lon", "is_border"),
    [
        (44.405, 8.905, False),  # Genoa, at the harbor
        (43.372, -1.775, True),  # between Hendaye and Irún
        (-16.80, 179.99, False),  # Taveuni, which the date line crosses
        (-33.86, 151.28, False),  # Sydney
    ],
)
def test_line_passes_near_a_known_place(lat: float, lon: float, is_border: bool) -> None:
    found = [line for line in around(lat, lon, 1.0) if line.is_border == is_border]
    assert distance_km(found, lat, lon) < 6


def test_inland_and_on_the_open_sea_there_is_nothing() -> None:
    assert around(52.0, 20.0, 0.5) == []
    assert around(45.0, -35.0, 5.0) == []


@pytest.mark.parametrize("lon", [179.9, -180.1, 180.1])
def test_islands_on_both_sides_of_the_date_line_are_near_each_other(lon: float) -> None:
    found = around(-16.5, lon, 1.0)
    assert len(found) >= 3
    for line in found:
        assert np.all(np.abs(line.lon - lon) < 1.5)
        assert np.all(np.abs(np.diff(line.lon)) < 0.5)


def test_edge_of_the_source_at_the_date_line_is_not_a_coast() -> None:
    """Chukotka is cut along it for 400 km."""
    for line in around(67.5, 180.0, 2.0):
        meridian = np.abs(np.abs(line.lon) - 180.0) < 1e-6
        assert not np.any(meridian[1:] & meridian[:-1])
