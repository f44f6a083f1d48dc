from __future__ import annotations

import numpy as np
import pytest

from training.localization.config import GenerateConfig
from training.localization.data.dataset import SPLITS
from training.localization.data.splits import BY_PLACE, INDEPENDENT
from training.localization.geometry import distances
from training.localization.synthetic.generate import generate_dataset
from training.localization.synthetic.propagation import received_power_dbm
from training.localization.synthetic.shadowing import ShadowMap


def test_the_same_seed_makes_the_same_dataset_and_another_another() -> None:
    one, same, other = (
        generate_dataset(GenerateConfig(samples=100, seed=seed)) for seed in (1, 1, 2)
    )
    assert one.content_hash == same.content_hash != other.content_hash


def test_a_longer_dataset_begins_with_the_shorter_one() -> None:
    short, long = (generate_dataset(GenerateConfig(samples=count, seed=1)) for count in (100, 300))
    assert np.array_equal(long.rssi[:100], short.rssi, equal_nan=True)


def test_shadowing_has_the_spread_that_was_asked_for() -> None:
    config = GenerateConfig(samples=20_000, shadowing_db=6, detection_snr_db=-20)
    dataset = generate_dataset(config)
    away = distances(dataset.target, dataset.rx)
    mean = received_power_dbm(
        away, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent
    )
    rest = (dataset.rssi - mean)[~np.isnan(dataset.rssi)]
    assert np.std(rest) == pytest.approx(6, rel=0.02)


def test_what_is_too_weak_is_not_heard() -> None:
    config = GenerateConfig(samples=500, transmit_dbm=10)
    dataset = generate_dataset(config)
    assert not dataset.heard.all()
    assert np.nanmin(dataset.snr) >= config.detection_snr_db
    assert np.array_equal(np.isnan(dataset.toa), np.isnan(dataset.rssi))


def test_without_timing_there_are_no_arrival_times() -> None:
    dataset = generate_dataset(GenerateConfig(samples=50, timing_sigma_ns=None))
    assert np.isnan(dataset.toa).all()


def test_samples_that_tell_nothing_of_each_other_are_split_at_random() -> None:
    dataset = generate_dataset(GenerateConfig(samples=2000))
    assert dataset.split_by == INDEPENDENT
    assert [len(dataset.rows(side)) for side in SPLITS] == [1400, 300, 300]
    middles = [dataset.target[dataset.rows(side)].mean(axis=0) for side in SPLITS]
    assert np.ptp(middles, axis=0).max() < 15e3  # of some 200 km


def test_neighbours_that_share_their_shadowing_stay_on_one_side_of_the_split() -> None:
    dataset = generate_dataset(GenerateConfig(samples=2000, shadowing_reach_km=5))
    assert dataset.split_by == BY_PLACE
    for block in np.unique(dataset.group):
        assert len(np.unique(dataset.split[dataset.group == block])) == 1


def test_progress_is_told_and_reaches_the_end() -> None:
    told: list[tuple[int, int]] = []
    generate_dataset(
        GenerateConfig(samples=6000), lambda current, total, _: told.append((current, total))
    )
    assert told[-1] == (6000, 6000)
    assert len(told) >= 10


def test_shadowing_that_belongs_to_the_place_is_alike_nearby_and_not_far_away() -> None:
    shadows = ShadowMap(np.random.default_rng(0), 200, reach_m=1000)
    places = np.array([[0.0, 0.0], [100, 0], [1000, 0], [20_000, 0]])
    found = shadows.values_at(places)  # [4, R]
    alike = np.corrcoef(found)[0]
    assert found.std() == pytest.approx(1, rel=0.1)
    assert alike[1] == pytest.approx(np.exp(-0.1), abs=0.1)
    assert alike[2] == pytest.approx(np.exp(-1), abs=0.2)
    assert abs(alike[3]) < 0.25


def test_with_a_reach_neighbours_are_shadowed_alike() -> None:
    config = GenerateConfig(samples=300, shadowing_reach_km=500, detection_snr_db=-20)
    dataset = generate_dataset(config)
    away = distances(dataset.target, dataset.rx)
    mean = received_power_dbm(
        away, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent
    )
    assert np.nanstd(dataset.rssi - mean, axis=0).max() < 6
