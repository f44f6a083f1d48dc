"""Accuracy on simulated LoRa data of a city: `python -m benchmarks.lora_868`.

42 gateways at 868 MHz receive vehicles: signal strengths in whole dBm from at least three gateways,
uncalibrated gains, gateways that miss some transmissions, spatially correlated shadowing and
independent fading. The data is written in the import format, imported, and trained with the default
settings. Each seed is another city. The last figure is the mean error divided by that of nearest
neighbors, which are tuned on the validation split.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.training import coverage_note, print_header, print_row, train
from training.localization.config import GenerateConfig, ImportConfig
from training.localization.data.dataset import Dataset
from training.localization.geometry import LocalFrame
from training.localization.importing.importer import read_folder
from training.localization.receivers import ReceiverSpec
from training.localization.synthetic.generate import generate_dataset

GATEWAYS, MIN_RECEIVERS = 42, 3
_CENTER = LocalFrame(51.2, 4.4)
_FADING_DB, _GAIN_DB, _MISS_PROBABILITY = 4.0, 4.0, 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--samples",
        type=int,
        default=12_000,
        help="before those that fewer than three gateways hear are removed",
    )
    parser.add_argument("--split", choices=["place", "random"], default="place")
    options = parser.parse_args()
    print_header()
    ratios = []
    for seed in range(options.seeds):
        dataset = generate_city(
            seed, options.samples, ImportConfig.model_validate({"split_by": options.split})
        )
        run = train(dataset, seed=seed)
        test, baselines = run.evaluation["test"], run.evaluation["baselines"]
        for name in ("weighted_centroid", "nearest_neighbours"):
            print_row(f"city {seed}: {name.replace('_', ' ')}", baselines[name])
        print_row(f"city {seed}: Heimdall", test, coverage_note(run))
        ratios.append(test["mean_m"] / baselines["nearest_neighbours"]["mean_m"])
    listed = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"{len(dataset):,} samples; mean error / nearest neighbors': {listed}")


def generate_city(seed: int, samples: int, config: ImportConfig) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), seed, samples)
        return read_folder(Path(folder), config=config)


def write_tables(folder: Path, seed: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.normal(0, [5000, 4000], (GATEWAYS, 2))
    lat, lon = _CENTER.to_geodetic(spread)
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
    rssi[(rng.random(shape) < _MISS_PROBABILITY) | (rssi < -125)] = np.nan
    kept = np.flatnonzero((~np.isnan(rssi)).sum(axis=1) >= MIN_RECEIVERS)
    lat, lon = made.frame.to_geodetic(made.target)
    write_csv(folder / "receivers.csv", ("receiver_id", "lat", "lon", "alt_m"),
          ((gateway.name, gateway.lat, gateway.lon, gateway.alt_m)
           for gateway in gateways))  # fmt: skip
    write_csv(folder / "samples.csv", ("sample_id", "lat", "lon"),
          ((row, lat[row], lon[row]) for row in kept))  # fmt: skip
    heard = [(row, column) for row in kept for column in np.flatnonzero(~np.isnan(rssi[row]))]
    readings = (
        (row, gateways[column].name, round(float(rssi[row, column]))) for row, column in heard
    )
    write_csv(folder / "measurements.csv", ("sample_id", "receiver_id", "rssi_dbm"), readings)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
