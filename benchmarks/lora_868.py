"""Measured data of another kind than Heimdall was built on: `python -m benchmarks.lora_868`.

What a network of 42 gateways at 868 MHz makes of a city's vehicles: strengths in whole dBm, three
or more of them, gains that nobody calibrated, gateways that are deaf now and then, shadowing that
belongs to the place, fading that does not. It is written in the import format and read back, and
trained with the default settings. Each seed is another city. The last figure is the mean error
over that of nearest neighbours, which are tuned on the validation split.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.training import head, line, train
from training.localization.config import GenerateConfig, ImportConfig
from training.localization.data.dataset import Dataset
from training.localization.geometry import LocalFrame
from training.localization.importing.importer import read_folder
from training.localization.receivers import ReceiverSpec
from training.localization.synthetic.generate import generate_dataset

GATEWAYS, FEWEST = 42, 3
_MIDDLE = LocalFrame(51.2, 4.4)
_FADING_DB, _GAIN_DB, _DEAF = 4.0, 4.0, 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=12_000, help="before those heard by few")
    parser.add_argument("--split", choices=["place", "random"], default="place")
    chosen = parser.parse_args()
    head()
    ratios = []
    for seed in range(chosen.seeds):
        dataset = city(
            seed, chosen.samples, ImportConfig.model_validate({"split_by": chosen.split})
        )
        done = train(dataset, seed=seed)
        test, classical = done.evaluation["test"], done.evaluation["baselines"]
        for name in ("weighted_centroid", "nearest_neighbours"):
            line(f"city {seed}: {name.replace('_', ' ')}", classical[name])
        covered = f"covers {test['coverage_68']:.1%} of 68, {test['coverage_95']:.1%} of 95"
        line(f"city {seed}: Heimdall", test, f"{covered}, {done.seconds:.0f} s")
        ratios.append(test["mean_m"] / classical["nearest_neighbours"]["mean_m"])
    told = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"{len(dataset):,} samples; mean error / nearest neighbours': {told}")


def city(seed: int, samples: int, config: ImportConfig) -> Dataset:
    """Through the three tables, as it would come from elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), seed, samples)
        return read_folder(Path(folder), config=config)


def write(folder: Path, seed: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.normal(0, [5000, 4000], (GATEWAYS, 2))
    lat, lon = _MIDDLE.to_geodetic(spread)
    gateways = [
        ReceiverSpec(name=f"gateway-{index}", lat=float(north), lon=float(east), alt_m=alt)
        for index, (north, east, alt) in enumerate(
            zip(lat, lon, rng.uniform(15, 70, GATEWAYS).tolist(), strict=True)
        )
    ]
    made = generate_dataset(
        GenerateConfig(
            samples=samples, seed=seed, receivers=tuple(gateways), frequency_mhz=868.3,
            transmit_dbm=14, path_loss_exponent=3.6, shadowing_db=8, shadowing_reach_km=0.3,
            noise_floor_dbm=-125, detection_snr_db=0, timing_sigma_ns=None, margin_km=0.5,
        )
    )  # fmt: skip
    shape = made.rssi.shape
    rssi = made.rssi + rng.normal(0, _FADING_DB, shape) + rng.normal(0, _GAIN_DB, GATEWAYS)
    rssi[(rng.random(shape) < _DEAF) | (rssi < -125)] = np.nan
    kept = np.flatnonzero((~np.isnan(rssi)).sum(axis=1) >= FEWEST)
    lat, lon = made.frame.to_geodetic(made.target)
    table(folder / "receivers.csv", ("receiver_id", "lat", "lon", "alt_m"),
          ((one.name, one.lat, one.lon, one.alt_m) for one in gateways))  # fmt: skip
    table(folder / "samples.csv", ("sample_id", "lat", "lon"),
          ((row, lat[row], lon[row]) for row in kept))  # fmt: skip
    heard = [(row, column) for row in kept for column in np.flatnonzero(~np.isnan(rssi[row]))]
    readings = ((row, gateways[one].name, round(float(rssi[row, one]))) for row, one in heard)
    table(folder / "measurements.csv", ("sample_id", "receiver_id", "rssi_dbm"), readings)


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
