from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from training.localization.data.dataset import Dataset
from training.localization.localizer.features import FEATURES, Encoder, Signals
from training.localization.localizer.normalizer import Normalizer


def encoded(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    rows = np.arange(len(dataset))
    encoder = Encoder(Normalizer.fit(dataset, dataset.rows("train")))
    tokens, mask = encoder(Signals.from_dataset(dataset, rows))
    return tokens, mask


def test_out_of_service_is_masked_and_silent_is_not(arrays: Dataset) -> None:
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


def test_the_moment_of_sending_does_not_matter(arrays: Dataset) -> None:
    before, _ = encoded(arrays)
    later, _ = encoded(replace(arrays, toa=arrays.toa + np.float32(4096)))
    torch.testing.assert_close(later, before, atol=1e-4, rtol=0)


def test_the_first_token_begins_with_the_place_of_the_loudest_receiver(arrays: Dataset) -> None:
    tokens, _ = encoded(arrays)
    ranked = np.sort(np.nan_to_num(arrays.rssi, nan=-999), axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 25  # dB
    loudest = np.nanargmax(arrays.rssi[clear], axis=1)
    normalizer = Normalizer.fit(arrays, arrays.rows("train"))
    place = normalizer.positions_to_units(arrays.rx[np.flatnonzero(clear), loudest, :2])
    assert clear.sum() > 5
    torch.testing.assert_close(tokens[clear, 0, :2], torch.from_numpy(place), atol=1e-2, rtol=0)


def test_nobody_of_known_place_is_no_place_at_all(arrays: Dataset) -> None:
    unknown = np.full_like(arrays.rx, np.nan)
    tokens, _ = encoded(replace(arrays, rx=unknown))
    assert torch.isfinite(tokens).all()
    assert (tokens[:, 0, :10] == 0).all()
