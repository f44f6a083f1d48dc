"""Spatially correlated shadowing: nearby transmitters have similar shadowing."""

from __future__ import annotations

import numpy as np

from training.localization.geometry import Floats

_WAVES = 256


class ShadowMap:
    """A Gaussian field of zero mean and unit variance over the plane for each of R receivers.

    The correlation is exp(-distance / reach_m) (Gudmundson 1991, Correlation Model for Shadow
    Fading in Mobile Radio Systems). The field is a sum of plane waves whose wave vectors follow
    the spectrum of that correlation (Rahimi and Recht 2007, Random Features): in two dimensions a
    Cauchy distribution of scale 1 / reach_m.
    """

    def __init__(self, rng: np.random.Generator, receivers: int, reach_m: float) -> None:
        shape = receivers, _WAVES
        normal = rng.standard_normal((*shape, 2))
        self._wave = normal / np.abs(rng.standard_normal(shape))[..., None] / reach_m
        self._phase = rng.uniform(0, 2 * np.pi, shape)

    def values_at(self, positions: Floats) -> Floats:
        # Positions [N, 2] in meters to [N, R].
        values = np.empty((len(positions), len(self._wave)))
        for receiver, (wave, phase) in enumerate(zip(self._wave, self._phase, strict=True)):
            values[:, receiver] = np.cos(positions @ wave.T + phase).sum(axis=1)
        return np.asarray(values * np.sqrt(2 / _WAVES))
