"""How strong a signal arrives, and when."""

from __future__ import annotations

import numpy as np

from training.engine.geometry import SPEED_OF_LIGHT, Floats

REFERENCE_M = 1000.0


def free_space_loss_db(distance_m: float, frequency_mhz: float) -> float:
    """Friis 1946: 20 log10(4 pi d f / c)."""
    return float(20 * np.log10(4 * np.pi * distance_m * frequency_mhz * 1e6 / SPEED_OF_LIGHT))


def received_dbm(
    distance_m: Floats, transmit_dbm: float, frequency_mhz: float, exponent: float
) -> Floats:
    """Mean power over the log-distance model (Rappaport 2002, eq. 4.69), free space up to 1 km."""
    loss = free_space_loss_db(REFERENCE_M, frequency_mhz)
    return transmit_dbm - loss - 10 * exponent * np.log10(distance_m / REFERENCE_M)


def arrival_ns(distance_m: Floats) -> Floats:
    """Time of flight in nanoseconds."""
    return distance_m / SPEED_OF_LIGHT * 1e9
