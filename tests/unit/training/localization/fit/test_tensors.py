from __future__ import annotations

import numpy as np
import pytest
import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit import tensors
from training.localization.fit.state import TrainState
from training.localization.fit.tensors import EncodedSplit, predict_encoded
from training.localization.localizer.localizer import Localizer, predict_split

CPU = torch.device("cpu")


@pytest.fixture
def state(arrays: Dataset) -> TrainState:
    return TrainState.initial(TrainConfig(hidden=16, heads=2, layers=1), arrays)


def test_encoded_split_has_the_samples_of_the_split(state: TrainState, arrays: Dataset) -> None:
    encoded = EncodedSplit.from_dataset(arrays, state.normalizer, "val", CPU)
    rows = arrays.rows("val")
    assert len(encoded) == len(rows)
    assert encoded.tokens.shape == (len(rows), 8, 12)
    assert np.array_equal(encoded.target_meters, arrays.target[rows])
    assert encoded.target.numpy() == pytest.approx(
        state.normalizer.positions_to_units(arrays.target[rows])
    )


def test_encoding_does_not_depend_on_the_batch_size(
    state: TrainState, arrays: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = EncodedSplit.from_dataset(arrays, state.normalizer, "train", CPU)
    monkeypatch.setattr(tensors, "BATCH", 7)
    parts = EncodedSplit.from_dataset(arrays, state.normalizer, "train", CPU)
    torch.testing.assert_close(parts.tokens, whole.tokens)
    assert torch.equal(parts.mask, whole.mask)


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (10_000, 168)])
def test_subsample_is_evenly_spaced_and_limited(
    state: TrainState, arrays: Dataset, count: int, expected: int
) -> None:
    train = EncodedSplit.from_dataset(arrays, state.normalizer, "train", CPU)
    some = train.subsample(count)
    assert len(some) == len(some.tokens) == len(some.signals.rssi) == expected
    assert np.array_equal(some.target_meters[[0, -1]], train.target_meters[[0, -1]])


@pytest.mark.parametrize("refined", [False, True])
def test_encoded_predictions_equal_those_of_the_model(
    state: TrainState, arrays: Dataset, refined: bool
) -> None:
    localizer = Localizer(state.model, state.normalizer, refined)
    encoded = EncodedSplit.from_dataset(arrays, state.normalizer, "test", CPU)
    network, predicted = predict_encoded(localizer, encoded)
    expected = predict_split(localizer, arrays, arrays.rows("test"))
    assert predicted.mean == pytest.approx(expected.mean, abs=0.5)
    assert predicted.covariance == pytest.approx(expected.covariance, rel=1e-2, abs=1.0)
    assert np.array_equal(network.mean, predicted.mean) != refined
