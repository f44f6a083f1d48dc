"""A training that starts from the weights of a saved model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.fine_tuning import Origin, initial_state
from training.localization.fit.state import TrainState
from training.localization.geometry import LocalFrame
from training.localization.inference.saved_model import load_model
from training.localization.localizer.features import Signals
from training.localization.localizer.localizer import Localizer
from training.programs.messages import FinalError

CONFIG = TrainConfig(hidden=32, heads=2, layers=1, members=2, seed=7)


@pytest.fixture(scope="module")
def origin(model_file: Path) -> Origin:
    saved = load_model(model_file)
    receivers = tuple(receiver.id for receiver in saved.receivers)
    return Origin(saved.localizer.ensemble, saved.localizer.normalizer, receivers, saved.frame)


def means(state: TrainState, dataset: Dataset) -> torch.Tensor:
    """Positions [N, 2] by the network alone, in the frame of the dataset."""
    localizer = Localizer(state.predictor, state.normalizer).eval()
    with torch.no_grad():
        mean: torch.Tensor = localizer(*Signals.from_dataset(dataset, np.arange(len(dataset))))[0]
    return mean


def with_receivers(dataset: Dataset, columns: list[int]) -> Dataset:
    return replace(
        dataset,
        receivers=tuple(dataset.receivers[column] for column in columns),
        **{
            name: getattr(dataset, name)[:, columns]
            for name in ("rssi", "snr", "toa", "rx", "in_service")
        },
    )


def test_it_starts_with_the_positions_of_the_origin(origin: Origin, arrays: Dataset) -> None:
    expected = Localizer(origin.ensemble, origin.normalizer).eval()
    with torch.no_grad():
        mean, _ = expected(*Signals.from_dataset(arrays, np.arange(len(arrays))))
    state = initial_state(origin, CONFIG, arrays)
    assert torch.allclose(means(state, arrays), mean)
    assert (state.epoch, state.dataset_hash) == (0, arrays.content_hash)
    assert state.receivers == origin.receivers


def test_receivers_are_matched_by_their_ids(origin: Origin, arrays: Dataset) -> None:
    order = list(range(len(arrays.receivers)))[::-1]
    same = means(initial_state(origin, CONFIG, arrays), arrays)
    reordered = with_receivers(arrays, order)
    other = means(initial_state(origin, CONFIG, reordered), reordered)
    assert torch.allclose(same, other, atol=0.5)  # meters; sums in another order


def test_new_receiver_changes_nothing_at_first(origin: Origin, arrays: Dataset) -> None:
    """Its first signals would shift every position otherwise."""
    known = list(range(len(arrays.receivers)))
    doubled = with_receivers(arrays, [*known, 0])
    new = replace(doubled.receivers[-1], id="new")
    doubled = replace(doubled, receivers=(*doubled.receivers[:-1], new))
    # The aggregate token sees all receivers; without a signal the new one is not part of it.
    for name in ("rssi", "snr", "toa"):
        getattr(doubled, name)[:, -1] = np.nan
    doubled.in_service[:, -1] = False
    state = initial_state(origin, CONFIG, doubled)
    fewer = initial_state(origin, CONFIG, arrays)
    assert state.receivers[-1] == "new"
    weights = [
        weight for name, weight in state.model.state_dict().items() if name.endswith(".receiver")
    ]
    assert len(weights) == CONFIG.members
    assert all(not weight[-1].any() and weight[:-1].any() for weight in weights)
    assert len(state.normalizer.rssi.level) == len(fewer.normalizer.rssi.level) + 1
    assert state.normalizer.rssi.level[:-1] == origin.normalizer.rssi.level


def test_missing_receivers_are_left_out(origin: Origin, arrays: Dataset) -> None:
    fewer = with_receivers(arrays, [2, 0])
    state = initial_state(origin, CONFIG, fewer)
    assert state.normalizer.rssi.level == (
        origin.normalizer.rssi.level[2],
        origin.normalizer.rssi.level[0],
    )
    assert torch.isfinite(means(state, fewer)).all()


def test_positions_of_another_frame_are_converted(origin: Origin, arrays: Dataset) -> None:
    """Datasets of one place have frames of their own, centered on their samples."""
    frame = LocalFrame(arrays.frame.lat0 + 0.01, arrays.frame.lon0 - 0.02, arrays.frame.alt0)
    lat, lon = arrays.frame.to_geodetic(arrays.target)
    moved = replace(
        arrays, frame=frame, target=frame.to_local(lat, lon).astype(np.float32), rx=arrays.rx.copy()
    )
    rx_lat, rx_lon = arrays.frame.to_geodetic(arrays.rx[..., :2])
    moved.rx[..., :2] = frame.to_local(rx_lat, rx_lon)
    here = means(initial_state(origin, CONFIG, arrays), arrays).numpy()
    there = means(initial_state(origin, CONFIG, moved), moved).numpy()
    distance = np.linalg.norm(frame.to_local(*arrays.frame.to_geodetic(here)) - there, axis=1)
    assert distance.max() < 0.01 * origin.normalizer.meters_per_unit


@pytest.mark.parametrize("change", [{"hidden": 64}, {"layers": 2}, {"members": 1}])
def test_another_network_is_refused(
    origin: Origin, arrays: Dataset, change: dict[str, int]
) -> None:
    with pytest.raises(FinalError, match="use the same model, ensemble size, width"):
        initial_state(origin, CONFIG.model_copy(update=change), arrays)
