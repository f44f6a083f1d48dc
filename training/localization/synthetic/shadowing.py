"""Shadowing that belongs to the place: neighbours see the same buildings and hills."""

from __future__ import annotations

import numpy as np

from training.localization.geometry import Floats

_WAVES = 256


class ShadowMap:
    """For each of R receivers a Gaussian field of unit variance over the plane.

    Its correlation falls as exp(-distance / reach) (Gudmundson 1991, Correlation Model for Shadow
    Fading in Mobile Radio Systems). It is a sum of plane waves whose wave vectors follow the
    spectrum of that correlation (Rahimi and Recht 2007, Random Features): in two dimensions a
    Cauchy distribution of scale 1 / reach.
    """

    def __init__(self, rng: np.random.Generator, receivers: int, reach_m: float) -> None:
        shape = receivers, _WAVES
        normal = rng.standard_normal((*shape, 2))
        self._wave = normal / np.abs(rng.standard_normal(shape))[..., None] / reach_m
        self._phase = rng.uniform(0, 2 * np.pi, shape)

    def at(self, places: Floats) -> Floats:
        """Places [N, 2] in metres to [N, R]."""
        found = np.empty((len(places), len(self._wave)))
        for receiver, (wave, phase) in enumerate(zip(self._wave, self._phase, strict=True)):
            found[:, receiver] = np.cos(places @ wave.T + phase).sum(axis=1)
        return np.asarray(found * np.sqrt(2 / _WAVES))
