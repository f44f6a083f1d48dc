from __future__ import annotations

import numpy as np
import pytest

from training.localization.synthetic import propagation
from training.localization.synthetic.propagation import received_power_dbm


def test_free_space_loss_at_1_km_and_145_mhz_is_correct() -> None:
    """The textbook form with constants: 32.45 + 20 log10(f / MHz) + 20 log10(d / km)."""
    expected = 32.45 + 20 * np.log10(145)
    assert propagation.free_space_loss_db(1000, 145) == pytest.approx(expected, abs=0.01)


def test_power_falls_by_20_db_per_decade_up_to_1_km_and_by_the_exponent_beyond() -> None:
    power = received_power_dbm(np.array([100.0, 999.9999, 1000.0, 10_000.0]), 37, 145, 3.5)
    assert power[0] - power[1] == pytest.approx(20, abs=1e-4)
    assert power[1] == pytest.approx(power[2], abs=1e-4)
    assert power[2] - power[3] == pytest.approx(35)


def test_received_power_rises_one_decibel_per_decibel_of_transmit_power() -> None:
    distance = np.array([5000.0])
    weak, strong = (received_power_dbm(distance, dbm, 145, 3)[0] for dbm in (10, 17))
    assert strong - weak == pytest.approx(7)


def test_time_of_flight_over_300_meters_is_a_microsecond() -> None:
    assert propagation.time_of_flight_ns(np.array([299.792458])) == pytest.approx([1000.0])
