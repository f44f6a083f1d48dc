from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.localization.data.dataset import Dataset
from training.localization.localizer import clock_offsets
from training.localization.localizer.features import (
    FEATURES,
    IN_SERVICE,
    Encoder,
    Signals,
    fit_token_center,
    subtract_emission_time,
)
from training.localization.localizer.normalizer import Normalizer


def encoded(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    rows = np.arange(len(dataset))
    encoder = Encoder(Normalizer.fit(dataset, dataset.rows("train")))
    tokens, mask = encoder(Signals.from_dataset(dataset, rows))
    return tokens, mask


def test_receiver_out_of_service_is_masked_and_a_silent_one_is_not(arrays: Dataset) -> None:
    in_service = arrays.in_service.copy()
    in_service[:, 2] = False
    rssi = arrays.rssi.copy()
    rssi[:, 1] = np.nan
    tokens, mask = encoded(replace(arrays, in_service=in_service, rssi=rssi))
    assert not mask[:, 1 + 2].any()
    assert (tokens[:, 1 + 2] == 0).all()
    assert mask[:, 1 + 1].all()
    assert (tokens[:, 1 + 1, FEATURES.index("has_rssi")] == 0).all()
    assert torch.isfinite(tokens).all()


def test_tokens_do_not_depend_on_the_emission_time(arrays: Dataset) -> None:
    before, _ = encoded(arrays)
    later, _ = encoded(replace(arrays, toa=arrays.toa + np.float32(4096)))
    torch.testing.assert_close(later, before, atol=1e-4, rtol=0)


def test_first_centroid_is_at_the_strongest_receiver(arrays: Dataset) -> None:
    tokens, _ = encoded(arrays)
    ranked = np.sort(np.nan_to_num(arrays.rssi, nan=-999), axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 25  # dB
    strongest = np.nanargmax(arrays.rssi[clear], axis=1)
    normalizer = Normalizer.fit(arrays, arrays.rows("train"))
    place = normalizer.positions_to_units(arrays.rx[np.flatnonzero(clear), strongest, :2])
    assert clear.sum() > 5
    torch.testing.assert_close(tokens[clear, 0, :2], torch.from_numpy(place), atol=1e-2, rtol=0)


def test_centroids_are_zero_without_receiver_positions(arrays: Dataset) -> None:
    unknown = np.full_like(arrays.rx, np.nan)
    tokens, _ = encoded(replace(arrays, rx=unknown))
    assert torch.isfinite(tokens).all()
    assert (tokens[:, 0, :10] == 0).all()


def test_silent_receiver_is_encoded_as_its_weakest_reading(arrays: Dataset) -> None:
    normalizer = Normalizer.fit(arrays, arrays.rows("train"))
    rssi = arrays.rssi.copy()
    rssi[0, 1] = np.nan
    tokens, _ = encoded(replace(arrays, rssi=rssi))
    weakest = normalizer.rssi.standardize(np.full((1, 7), np.nan))[0, 1]
    assert float(tokens[0, 2, FEATURES.index("rssi")]) == pytest.approx(weakest, rel=1e-2)


def test_fraction_of_receivers_that_heard_the_sample_is_the_feature_after_the_centroids(
    arrays: Dataset,
) -> None:
    tokens, _ = encoded(arrays)
    expected = torch.from_numpy(arrays.heard.mean(axis=1)).float()
    torch.testing.assert_close(tokens[:, 0, 10], expected)
    assert (tokens[:, 0, 11:] == 0).all()


def centered(dataset: Dataset, fitted_on: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask of the training split, centered as fitted on that of another dataset."""
    rows = fitted_on.rows("train")
    normalizer = Normalizer.fit(fitted_on, rows)
    center = fit_token_center(normalizer, fitted_on, rows)
    encoder = Encoder(replace(normalizer, token_center=center))
    tokens, mask = encoder(Signals.from_dataset(dataset, dataset.rows("train")))
    return tokens, mask


def test_features_are_centered_for_each_receiver(arrays: Dataset) -> None:
    tokens, _ = centered(arrays, fitted_on=arrays)
    assert tokens[..., :IN_SERVICE].mean(dim=0).abs().max() < 1e-5
    # Receivers that do not move.
    assert tokens[:, 1:, FEATURES.index("east")].abs().max() < 1e-5
    assert tokens[:, 1:, FEATURES.index("rssi")].std(dim=0).min() > 0.1
    assert (tokens[..., IN_SERVICE] == 1).all()


def test_samples_outside_the_training_split_do_not_move_the_center(arrays: Dataset) -> None:
    rows = arrays.rows("train")
    normalizer = Normalizer.fit(arrays, rows)
    rssi = arrays.rssi.copy()
    rssi[np.concatenate([arrays.rows("val"), arrays.rows("test")])] += 40.0
    changed = replace(arrays, rssi=rssi)
    assert Normalizer.fit(changed, rows) == normalizer
    assert fit_token_center(normalizer, changed, rows) == fit_token_center(normalizer, arrays, rows)


def test_receiver_out_of_service_is_zero_and_does_not_move_the_center(arrays: Dataset) -> None:
    in_service = arrays.in_service.copy()
    in_service[arrays.rows("train")[::2], 2] = False
    partly = replace(arrays, in_service=in_service)
    tokens, mask = centered(partly, fitted_on=partly)
    assert (tokens[~mask] == 0).all()
    visible = tokens[mask[:, 1 + 2], 1 + 2, :IN_SERVICE]
    assert visible.mean(dim=0).abs().max() < 1e-5


def test_tensors_and_arrays_subtract_the_same_emission_time(arrays: Dataset) -> None:
    toa = torch.from_numpy(arrays.toa)
    valid = ~toa.isnan()
    difference = subtract_emission_time(toa, valid).numpy()
    expected = np.nan_to_num(clock_offsets.subtract_emission_time(arrays.toa))
    assert difference == pytest.approx(expected, abs=0.2)  # ns, of 10^6
