from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.localization.checkpoints import store as checkpoint
from training.localization.config import LossKind, TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.loop import DivergedError, EpochResult, Step, calibrated_loss, fit
from training.localization.fit.state import TrainState
from training.localization.fit.tensors import EncodedSplit, predict_encoded
from training.localization.importing.importer import read_folder
from training.localization.localizer.localizer import Localizer, predict_split
from training.localization.metrics import position_errors, rmse

QUICK = {"epochs": 4, "hidden": 32, "heads": 2, "layers": 1, "batch_size": 32}


def config(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate({**QUICK, **changes})


def epochs(state: TrainState, dataset: Dataset) -> list[EpochResult]:
    return [step for step in fit(state, dataset) if isinstance(step, EpochResult)]


def weights(state: TrainState) -> torch.Tensor:
    """Of the network and of the averaged one."""
    parameters = [*state.model.parameters(), *state.predictor.parameters()]
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def test_metrics_and_weights_depend_on_the_seed_only(arrays: Dataset) -> None:
    state, same, other = (TrainState.initial(config(seed=seed), arrays) for seed in (1, 1, 2))
    first = [result.metrics for result in epochs(state, arrays)]
    assert first == [result.metrics for result in epochs(same, arrays)]
    assert first != [result.metrics for result in epochs(other, arrays)]
    assert torch.equal(weights(state), weights(same))


def test_resumed_training_equals_an_uninterrupted_one(arrays: Dataset, tmp_path: Path) -> None:
    uninterrupted = TrainState.initial(config(), arrays)
    expected = [result.metrics for result in epochs(uninterrupted, arrays)]

    stopped = TrainState.initial(config(), arrays)
    store, found = checkpoint.Store(tmp_path), []
    for progress in fit(stopped, arrays):
        if isinstance(progress, EpochResult):
            found.append(progress.metrics)
            path = store.save(stopped, progress.is_best)
        elif len(found) == 2:
            break  # in the middle of the third epoch
    resumed = store.resume(path).state
    assert resumed
    found += [result.metrics for result in epochs(resumed, arrays)]

    assert found == expected
    assert torch.equal(weights(resumed), weights(uninterrupted))


def test_training_lowers_the_error(arrays: Dataset) -> None:
    results = epochs(TrainState.initial(config(epochs=12, refine=False), arrays), arrays)
    assert results[-1].metrics["train_rmse"] < 0.75 * results[0].metrics["train_rmse"]  # type: ignore[operator]


def test_training_error_is_of_the_refined_predictions(arrays: Dataset) -> None:
    state = TrainState.initial(config(epochs=1), arrays)
    (result,) = epochs(state, arrays)
    rows = arrays.rows("train")
    localizer = Localizer(state.predictor, state.normalizer, refined=True)
    predicted = predict_split(localizer, arrays, rows)
    expected = rmse(position_errors(predicted.mean, arrays.target[rows]))
    assert result.metrics["train_rmse"] == pytest.approx(expected, rel=1e-3)


def test_every_batch_yields_a_step(arrays: Dataset) -> None:
    steps = [step for step in fit(TrainState.initial(config(epochs=1), arrays), arrays)
             if isinstance(step, Step)]  # fmt: skip
    assert [step.batch for step in steps] == list(range(1, steps[0].total_batches + 1))


def test_training_stops_early_without_a_better_loss(arrays: Dataset) -> None:
    state = TrainState.initial(config(epochs=50, patience=2, learning_rate=1e-12), arrays)
    state.best_epoch, state.best_val_loss = 0, -1e9
    assert len(epochs(state, arrays)) == 2


def test_infinite_loss_is_an_error_with_advice(arrays: Dataset) -> None:
    state = TrainState.initial(config(learning_rate=1), arrays)
    with torch.no_grad():
        next(state.model.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"epoch 1, batch 1; try a learning_rate"):
        epochs(state, arrays)


def test_error_in_a_later_batch_names_that_batch(arrays: Dataset) -> None:
    state = TrainState.initial(config(batch_size=2), arrays)
    losses = fit(state, arrays)
    for _ in range(40):
        next(losses)
    with torch.no_grad():
        next(state.model.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="epoch 1, batch 41;"):
        list(losses)


def test_metrics_of_an_epoch_are_complete(arrays: Dataset) -> None:
    (result,) = epochs(TrainState.initial(config(epochs=1), arrays), arrays)
    assert {"train_loss", "val_loss", "train_rmse", "val_rmse", "val_rmse_good_geom",
            "learning_rate"} <= set(result.metrics)  # fmt: skip
    assert (result.epoch, result.is_best) == (1, True)
    assert result.seconds > 0


@pytest.mark.parametrize("kind", ["distance", "squared"])
def test_calibrated_loss_does_not_depend_on_the_scale_of_the_covariance(
    arrays: Dataset, kind: LossKind
) -> None:
    state = TrainState.initial(config(), arrays)
    val = EncodedSplit.from_dataset(arrays, state.normalizer, "val", torch.device("cpu"))
    network, _ = predict_encoded(Localizer(state.model, state.normalizer), val)
    scale = state.normalizer.meters_per_unit
    first, second = (
        calibrated_loss(network.with_temperature(factor), val, scale, kind) for factor in (1, 9)
    )
    assert first == pytest.approx(second)


@pytest.mark.parametrize(
    ("samples", "receivers"), [(3, 1), (3, 3), (42, 1)], ids=lambda value: str(value)
)
def test_very_small_datasets_can_be_trained(tmp_path: Path, samples: int, receivers: int) -> None:
    """All samples at one position; the batch is larger than the training split."""
    splits = ["train", "val", "test"]
    tables = {
        "receivers": ["receiver_id,lat,lon,alt_m"]
        + [f"r{number},45.0,7.{number},300" for number in range(receivers)],
        "samples": ["sample_id,lat,lon,split"]
        + [f"s{number},45.1,7.1,{splits[number % 3]}" for number in range(samples)],
        "measurements": ["sample_id,receiver_id,rssi_dbm"]
        + [f"s{number},r0,-80" for number in range(samples)],
    }
    for name, lines in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    dataset = read_folder(tmp_path)
    state = TrainState.initial(config(batch_size=65_536, epochs=2), dataset)
    results = epochs(state, dataset)
    assert len(results) == 2
    assert all(result.metrics["val_rmse"] is not None for result in results)
