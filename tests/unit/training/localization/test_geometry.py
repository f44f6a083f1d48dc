from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.localization.geometry import LocalFrame, distances

TURIN = LocalFrame(45.07, 7.69)


def test_the_origin_is_zero() -> None:
    assert TURIN.to_local(45.07, 7.69) == pytest.approx([0, 0], abs=1e-6)


def test_a_degree_of_latitude_is_111_kilometres() -> None:
    east, north = TURIN.to_local(45.57, 7.69)
    assert (east, north) == (pytest.approx(0, abs=1e-6), pytest.approx(55_566, rel=1e-3))


@given(st.floats(44, 46), st.floats(6, 9.5))
def test_there_and_back_again(lat: float, lon: float) -> None:
    back = TURIN.to_geodetic(TURIN.to_local(lat, lon))
    assert np.allclose(back, (lat, lon), atol=1e-9)


@given(st.floats(-80, 80), st.floats(-180, 180))
def test_it_holds_anywhere_on_earth(lat: float, lon: float) -> None:
    frame = LocalFrame(lat, lon)
    there = frame.to_geodetic(np.array([3000.0, -4000.0]))
    assert np.allclose(frame.to_local(*there), [3000, -4000], atol=1e-5)
    assert frame.distance_from_origin(*there) == pytest.approx(5000, rel=1e-4)


def test_the_middle_of_places_on_both_sides_of_the_date_line_lies_on_it() -> None:
    assert abs(LocalFrame.centered_on([0, 0], [179, -179]).lon0) == pytest.approx(180)


def test_heights_count_from_the_ground_on_which_transmitters_stand() -> None:
    plateau = LocalFrame(40.76, -111.84, alt0=1400.0)
    assert plateau.to_local_3d(40.76, -111.84, [1430.0, np.nan])[..., 2] == pytest.approx(
        [30, np.nan], nan_ok=True
    )


def test_distances_count_the_altitude_and_are_unknown_where_the_receiver_is() -> None:
    targets = np.array([[0.0, 0.0]])
    receivers = np.array([[3.0, 0.0, 4.0], [np.nan, np.nan, np.nan], [0.0, 0.0, 0.0]])
    assert distances(targets, receivers)[0] == pytest.approx([5, np.nan, 1], nan_ok=True)
