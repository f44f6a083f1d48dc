"""Synthetic samples a second: `python -m benchmarks.generation`.

Against a plain NumPy loop that makes one sample at a time, by the same physics and from the same
random numbers: what both make is compared. Runs alternate; the figures are medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from training.localization.config import GenerateConfig
from training.localization.geometry import SPEED_OF_LIGHT, LocalFrame
from training.localization.synthetic import resumable
from training.localization.synthetic.area import BufferedConvexHull
from training.localization.synthetic.generate import BLOCK, generate

Made = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    # The loop takes its time; a stretch of the samples says how much.
    many, few = (GenerateConfig(samples=count) for count in (chosen.samples, BLOCK * 40))
    assert np.allclose(heimdall(few), one_by_one(few), rtol=1e-5, atol=0.05, equal_nan=True)
    rates: dict[str, list[float]] = {"in memory": [], "as a job, on disk": [], "loop": []}
    for _ in range(chosen.runs):
        rates["in memory"].append(rate(many, heimdall))
        rates["as a job, on disk"].append(rate(many, on_disk))
        rates["loop"].append(rate(few, one_by_one))
    loop = median(rates["loop"])
    for name, found in rates.items():
        print(f"{name:20}{median(found):12,.0f} samples/s{median(found) / loop:8.1f} x the loop")


def rate(config: GenerateConfig, make: Callable[[GenerateConfig], object]) -> float:
    started = time.perf_counter()
    make(config)
    return config.samples / (time.perf_counter() - started)


def heimdall(config: GenerateConfig) -> Made:
    """[N, 2 + 3 R] of target, rssi, snr, toa."""
    made = generate(config)
    return np.hstack([made.target, made.rssi, made.snr, made.toa]).astype(float)


def on_disk(config: GenerateConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        resumable.generate_resumable(config, Path(folder) / "dataset", lambda *told: None)


def one_by_one(config: GenerateConfig) -> Made:
    """The same, as one would write it down."""
    frame = LocalFrame.centered_on(*np.array([(one.lat, one.lon) for one in config.receivers]).T)
    rx = np.array([frame.to_local_3d(one.lat, one.lon, one.alt_m) for one in config.receivers])
    area = BufferedConvexHull(rx[:, :2], config.margin_km * 1000)
    wave = SPEED_OF_LIGHT / (config.frequency_mhz * 1e6)
    at_1_km = config.transmit_dbm - 20 * np.log10(4 * np.pi * 1000 / wave)
    made = np.empty((config.samples, 2 + 3 * len(rx)))
    for sample in range(config.samples):
        if sample % BLOCK == 0:
            rng = np.random.default_rng([config.seed, 1, sample // BLOCK])
            uniform = rng.random((BLOCK, 4))
            normal = rng.standard_normal((BLOCK, 2 * len(rx)))
        drawn, (shadow, clock) = uniform[sample % BLOCK], np.split(normal[sample % BLOCK], 2)
        target = area.sample(drawn[None, :3])[0]
        away = np.maximum(np.sqrt(((rx[:, :2] - target) ** 2).sum(axis=1) + rx[:, 2] ** 2), 1)
        exponent = np.where(away < 1000, 2, config.path_loss_exponent)
        rssi = at_1_km - 10 * exponent * np.log10(away / 1000) + config.shadowing_db * shadow
        snr = rssi - config.noise_floor_dbm
        toa = 1e6 * drawn[3] + away / SPEED_OF_LIGHT * 1e9
        if config.timing_sigma_ns is not None:
            toa = toa + config.timing_sigma_ns * clock
        heard = snr >= config.detection_snr_db
        readings = [np.where(heard, signal, np.nan) for signal in (rssi, snr, toa)]
        made[sample] = np.concatenate([target, *readings])
    return made


if __name__ == "__main__":
    main()
