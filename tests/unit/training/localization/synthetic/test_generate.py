from __future__ import annotations

import numpy as np
import pytest

from training.localization.config import GenerateConfig
from training.localization.data.dataset import SPLITS
from training.localization.data.splits import BY_PLACE, INDEPENDENT
from training.localization.geometry import distances
from training.localization.synthetic.area import BufferedConvexHull
from training.localization.synthetic.generate import generate_dataset
from training.localization.synthetic.propagation import received_power_dbm, time_of_flight_ns


def test_dataset_depends_on_the_seed_only() -> None:
    first, same, other = (
        generate_dataset(GenerateConfig(samples=100, seed=seed)) for seed in (1, 1, 2)
    )
    assert first.content_hash == same.content_hash != other.content_hash


def test_longer_dataset_begins_with_the_shorter_one() -> None:
    short, long = (generate_dataset(GenerateConfig(samples=count, seed=1)) for count in (100, 300))
    assert np.array_equal(long.rssi[:100], short.rssi, equal_nan=True)


def test_shadowing_has_the_configured_standard_deviation() -> None:
    config = GenerateConfig(samples=20_000, shadowing_db=6, detection_snr_db=-20)
    dataset = generate_dataset(config)
    distance = distances(dataset.target, dataset.rx)
    mean = received_power_dbm(
        distance, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent
    )
    rest = (dataset.rssi - mean)[~np.isnan(dataset.rssi)]
    assert np.std(rest) == pytest.approx(6, rel=0.02)


def test_signals_below_the_threshold_are_not_heard() -> None:
    config = GenerateConfig(samples=500, transmit_dbm=10)
    dataset = generate_dataset(config)
    assert not dataset.heard.all()
    assert np.nanmin(dataset.snr) >= config.detection_snr_db
    assert np.array_equal(np.isnan(dataset.toa), np.isnan(dataset.rssi))


def test_arrival_times_are_absent_without_timing() -> None:
    dataset = generate_dataset(GenerateConfig(samples=50, timing_sigma_ns=None))
    assert np.isnan(dataset.toa).all()


def test_independent_samples_are_split_at_random() -> None:
    dataset = generate_dataset(GenerateConfig(samples=2000))
    assert dataset.split_by == INDEPENDENT
    assert [len(dataset.rows(side)) for side in SPLITS] == [1400, 300, 300]
    means = [dataset.target[dataset.rows(side)].mean(axis=0) for side in SPLITS]
    assert np.ptp(means, axis=0).max() < 15e3  # of some 200 km


def test_samples_with_correlated_shadowing_are_split_by_square() -> None:
    dataset = generate_dataset(GenerateConfig(samples=2000, shadowing_reach_km=5))
    assert dataset.split_by == BY_PLACE
    for block in np.unique(dataset.group):
        assert len(np.unique(dataset.split[dataset.group == block])) == 1


def test_progress_is_reported_and_reaches_the_total() -> None:
    reports: list[tuple[int, int]] = []
    generate_dataset(
        GenerateConfig(samples=6000), lambda current, total, _: reports.append((current, total))
    )
    assert reports[-1] == (6000, 6000)
    assert len(reports) >= 10


def test_correlated_shadowing_varies_less_within_the_correlation_distance() -> None:
    config = GenerateConfig(samples=300, shadowing_reach_km=500, detection_snr_db=-20)
    dataset = generate_dataset(config)
    distance = distances(dataset.target, dataset.rx)
    mean = received_power_dbm(
        distance, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent
    )
    assert np.nanstd(dataset.rssi - mean, axis=0).max() < 6


def test_arrival_times_have_the_configured_error_up_to_the_emission_time() -> None:
    config = GenerateConfig(samples=4000, timing_sigma_ns=300)
    dataset = generate_dataset(config)
    flight = time_of_flight_ns(distances(dataset.target, dataset.rx))
    error = dataset.toa - flight
    difference = error[:, 0] - error[:, 2]
    noise = difference[~np.isnan(difference)]
    assert np.std(noise) == pytest.approx(300 * np.sqrt(2), rel=0.05)
    assert np.mean(noise) == pytest.approx(0, abs=25)


def test_snr_is_the_power_above_the_noise_floor() -> None:
    dataset = generate_dataset(GenerateConfig(samples=50, noise_floor_dbm=-110))
    assert dataset.snr == pytest.approx(dataset.rssi + 110, abs=1e-3, nan_ok=True)


def test_transmitters_are_within_the_margin_of_the_receivers() -> None:
    dataset = generate_dataset(GenerateConfig(samples=2000, margin_km=1))
    area = BufferedConvexHull(dataset.rx[0, :, :2].astype(float), 1000.5)
    assert area.contains(dataset.target.astype(float)).all()


def test_exception_of_the_progress_callback_stops_the_generation() -> None:
    def stop(current: int, total: int, message: str) -> None:
        raise KeyboardInterrupt(message)

    with pytest.raises(KeyboardInterrupt, match="256 of 6,000 samples"):
        generate_dataset(GenerateConfig(samples=6000), stop)
