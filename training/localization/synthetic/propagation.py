"""Radio propagation: received power and time of flight."""

from __future__ import annotations

import numpy as np

from training.localization.geometry import SPEED_OF_LIGHT, Floats

REFERENCE_M = 1000.0  # free space up to this distance
_FREE_SPACE_EXPONENT = 2.0


def free_space_loss_db(distance_m: float, frequency_mhz: float) -> float:
    # 20 log10(4 pi d f / c) (Friis 1946).
    return float(20 * np.log10(4 * np.pi * distance_m * frequency_mhz * 1e6 / SPEED_OF_LIGHT))


def received_power_dbm(
    distance_m: Floats, transmit_dbm: float, frequency_mhz: float, exponent: float
) -> Floats:
    """Mean power [...] in dBm: free space up to 1 km, log-distance beyond.

    Rappaport 2002, Wireless Communications, eq. 4.69a, with d0 = 1 km and isotropic antennas.
    """
    loss = free_space_loss_db(REFERENCE_M, frequency_mhz)
    slope = 10 * path_loss_exponent_at(distance_m, exponent)
    return np.asarray(transmit_dbm - loss - slope * np.log10(distance_m / REFERENCE_M))


def path_loss_exponent_at(distance_m: Floats, exponent: float) -> Floats:
    return np.where(distance_m < REFERENCE_M, _FREE_SPACE_EXPONENT, exponent)


def time_of_flight_ns(distance_m: Floats) -> Floats:
    return distance_m / SPEED_OF_LIGHT * 1e9
