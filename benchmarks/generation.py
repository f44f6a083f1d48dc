"""Synthetic samples per second: `python -m benchmarks.generation`.

Compared with a plain NumPy loop that generates one sample at a time with the same physics and the
same random numbers; the results are checked against each other. Runs alternate; the figures are
medians.
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
from training.localization.synthetic.generate import BLOCK, generate_dataset

Samples = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    # The loop is slow; part of the samples suffices to measure its rate.
    large, small = (GenerateConfig(samples=count) for count in (options.samples, BLOCK * 40))
    assert np.allclose(vectorized(small), one_by_one(small), rtol=1e-5, atol=0.05, equal_nan=True)
    rates: dict[str, list[float]] = {"in memory": [], "as a job, on disk": [], "loop": []}
    for _ in range(options.runs):
        rates["in memory"].append(measure_rate(large, vectorized))
        rates["as a job, on disk"].append(measure_rate(large, on_disk))
        rates["loop"].append(measure_rate(small, one_by_one))
    loop = median(rates["loop"])
    for name, values in rates.items():
        rate = median(values)
        print(f"{name:20}{rate:12,.0f} samples/s{rate / loop:8.1f} x the loop")


def measure_rate(config: GenerateConfig, generate: Callable[[GenerateConfig], object]) -> float:
    started = time.perf_counter()
    generate(config)
    return config.samples / (time.perf_counter() - started)


def vectorized(config: GenerateConfig) -> Samples:
    """[N, 2 + 3 R] of target, rssi, snr, toa."""
    made = generate_dataset(config)
    return np.hstack([made.target, made.rssi, made.snr, made.toa]).astype(float)


def on_disk(config: GenerateConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        resumable.generate_resumable(config, Path(folder) / "dataset", lambda *progress: None)


def one_by_one(config: GenerateConfig) -> Samples:
    frame = LocalFrame.centered_on(
        *np.array([(receiver.lat, receiver.lon) for receiver in config.receivers]).T
    )
    rx = np.array(
        [
            frame.to_local_3d(receiver.lat, receiver.lon, receiver.alt_m)
            for receiver in config.receivers
        ]
    )
    area = BufferedConvexHull(rx[:, :2], config.margin_km * 1000)
    wavelength = SPEED_OF_LIGHT / (config.frequency_mhz * 1e6)
    at_1_km = config.transmit_dbm - 20 * np.log10(4 * np.pi * 1000 / wavelength)
    made = np.empty((config.samples, 2 + 3 * len(rx)))
    for sample in range(config.samples):
        if sample % BLOCK == 0:
            rng = np.random.default_rng([config.seed, 1, sample // BLOCK])
            uniform = rng.random((BLOCK, 4))
            normal = rng.standard_normal((BLOCK, 2 * len(rx)))
        drawn, (shadow, clock) = uniform[sample % BLOCK], np.split(normal[sample % BLOCK], 2)
        target = area.sample(drawn[None, :3])[0]
        distance = np.maximum(np.sqrt(((rx[:, :2] - target) ** 2).sum(axis=1) + rx[:, 2] ** 2), 1)
        exponent = np.where(distance < 1000, 2, config.path_loss_exponent)
        rssi = at_1_km - 10 * exponent * np.log10(distance / 1000) + config.shadowing_db * shadow
        snr = rssi - config.noise_floor_dbm
        toa = 1e6 * drawn[3] + distance / SPEED_OF_LIGHT * 1e9
        if config.timing_sigma_ns is not None:
            toa = toa + config.timing_sigma_ns * clock
        heard = snr >= config.detection_snr_db
        readings = [np.where(heard, signal, np.nan) for signal in (rssi, snr, toa)]
        made[sample] = np.concatenate([target, *readings])
    return made


if __name__ == "__main__":
    main()
