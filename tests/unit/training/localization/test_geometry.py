from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.localization.geometry import LocalFrame, distances

TURIN = LocalFrame(45.07, 7.69)


def test_origin_has_coordinates_zero() -> None:
    assert TURIN.to_local(45.07, 7.69) == pytest.approx([0, 0], abs=1e-6)


def test_half_a_degree_of_latitude_is_55_6_kilometers() -> None:
    east, north = TURIN.to_local(45.57, 7.69)
    assert (east, north) == (pytest.approx(0, abs=1e-6), pytest.approx(55_566, rel=1e-3))


@given(st.floats(44, 46), st.floats(6, 9.5))
def test_to_geodetic_inverts_to_local(lat: float, lon: float) -> None:
    back = TURIN.to_geodetic(TURIN.to_local(lat, lon))
    assert np.allclose(back, (lat, lon), atol=1e-9)


@given(st.floats(-80, 80), st.floats(-180, 180))
def test_to_local_inverts_to_geodetic_anywhere_on_earth(lat: float, lon: float) -> None:
    frame = LocalFrame(lat, lon)
    geodetic = frame.to_geodetic(np.array([3000.0, -4000.0]))
    assert np.allclose(frame.to_local(*geodetic), [3000, -4000], atol=1e-5)
    assert frame.distance_from_origin(*geodetic) == pytest.approx(5000, rel=1e-4)


@pytest.mark.parametrize(
    ("lat", "lon"), [(48.1, 11.6), (-17.7, 179.999), (-33.9, 151.2), (89.99, 20.0), (-90.0, 0.0)]
)
def test_distances_are_the_same_in_bavaria_at_the_date_line_and_at_the_poles(
    lat: float, lon: float
) -> None:
    square = np.array([[2000.0, 2000.0], [-2000.0, 2000.0], [-2000.0, -2000.0], [2000.0, -2000.0]])
    corners = LocalFrame(lat, lon).to_geodetic(square)
    local = LocalFrame.centered_on(*corners).to_local(*corners)
    sides = np.linalg.norm(local - np.roll(local, 1, axis=0), axis=1)
    assert sides == pytest.approx([4000] * 4, rel=1e-6)


def test_position_off_the_globe_has_no_coordinates() -> None:
    lat, lon = TURIN.to_geodetic(np.array([[7e6, 0.0], [0.0, 0.0]]))
    assert np.isnan(lat[0]) and np.isnan(lon[0])
    assert (lat[1], lon[1]) == pytest.approx((45.07, 7.69))


@pytest.mark.parametrize(("distance", "shortening"), [(100e3, 1.2e-4), (200e3, 5e-4)])
def test_projection_shortens_lengths_as_documented(distance: float, shortening: float) -> None:
    """A point on the plane is this much nearer than along the ellipsoid's chord."""
    geodetic = TURIN.to_geodetic(np.array([0.0, distance]))
    chord = float(TURIN.distance_from_origin(*geodetic))
    assert 0 < 1 - distance / chord < shortening


def test_center_of_points_on_both_sides_of_the_date_line_is_on_it() -> None:
    assert abs(LocalFrame.centered_on([0, 0], [179, -179]).lon0) == pytest.approx(180)


def test_heights_are_relative_to_the_ground_of_the_frame() -> None:
    plateau = LocalFrame(40.76, -111.84, alt0=1400.0)
    assert plateau.to_local_3d(40.76, -111.84, [1430.0, np.nan])[..., 2] == pytest.approx(
        [30, np.nan], nan_ok=True
    )


def test_distances_include_altitude_and_are_nan_for_unknown_receivers() -> None:
    targets = np.array([[0.0, 0.0]])
    receivers = np.array([[3.0, 0.0, 4.0], [np.nan, np.nan, np.nan], [0.0, 0.0, 0.0]])
    assert distances(targets, receivers)[0] == pytest.approx([5, np.nan, 1], nan_ok=True)


def test_distances_to_receivers_that_move_use_the_row_of_each_target() -> None:
    targets = np.array([[0.0, 0.0], [0.0, 0.0]])
    receivers = np.array([[[3.0, 4.0, np.nan]], [[6.0, 8.0, np.nan]]])
    assert distances(targets, receivers).tolist() == [[5.0], [10.0]]
