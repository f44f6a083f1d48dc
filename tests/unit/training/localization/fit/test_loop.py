from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.localization.checkpoints import store as checkpoint
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.loop import DivergedError, EpochResult, Step, fit
from training.localization.fit.state import TrainState, learning_rate
from training.localization.localizer.localizer import Localizer, predict_split
from training.localization.metrics import position_errors, rmse

QUICK = {"epochs": 4, "hidden": 32, "heads": 2, "layers": 1, "batch_size": 32}


def config(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate({**QUICK, **changes})


def epochs(state: TrainState, dataset: Dataset) -> list[EpochResult]:
    return [one for one in fit(state, dataset) if isinstance(one, EpochResult)]


def weights(state: TrainState) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in state.model.parameters()])


def test_the_same_seed_gives_the_same_numbers(arrays: Dataset) -> None:
    one, same, other = (TrainState.initial(config(seed=seed), arrays) for seed in (1, 1, 2))
    first = [result.metrics for result in epochs(one, arrays)]
    assert first == [result.metrics for result in epochs(same, arrays)]
    assert first != [result.metrics for result in epochs(other, arrays)]
    assert torch.equal(weights(one), weights(same))


def test_stopped_and_resumed_equals_trained_through(arrays: Dataset, tmp_path: Path) -> None:
    through = TrainState.initial(config(), arrays)
    expected = [result.metrics for result in epochs(through, arrays)]

    stopped = TrainState.initial(config(), arrays)
    store, found = checkpoint.Store(tmp_path), []
    for progress in fit(stopped, arrays):
        if isinstance(progress, EpochResult):
            found.append(progress.metrics)
            path = store.save(stopped, progress.is_best)
        elif len(found) == 2:
            break  # in the middle of the third epoch
    resumed = store.resume(path).state
    found += [result.metrics for result in epochs(resumed, arrays)]

    assert found == expected
    assert torch.equal(weights(resumed), weights(through))


def test_training_learns(arrays: Dataset) -> None:
    results = epochs(TrainState.initial(config(epochs=12, refine=False), arrays), arrays)
    assert results[-1].metrics["train_rmse"] < 0.75 * results[0].metrics["train_rmse"]  # type: ignore[operator]


def test_the_error_on_the_training_split_is_that_of_what_will_be_answered(arrays: Dataset) -> None:
    state = TrainState.initial(config(epochs=1), arrays)
    (result,) = epochs(state, arrays)
    rows = arrays.rows("train")
    said = predict_split(Localizer(state.model, state.normalizer, refined=True), arrays, rows)
    expected = rmse(position_errors(said.mean, arrays.target[rows]))
    assert result.metrics["train_rmse"] == pytest.approx(expected, rel=1e-3)


def test_each_batch_is_told(arrays: Dataset) -> None:
    steps = [one for one in fit(TrainState.initial(config(epochs=1), arrays), arrays)
             if isinstance(one, Step)]  # fmt: skip
    assert [step.batch for step in steps] == list(range(1, steps[0].total_batches + 1))


def test_it_stops_early_when_nothing_gets_better(arrays: Dataset) -> None:
    state = TrainState.initial(config(epochs=50, patience=2, learning_rate=1e-12), arrays)
    state.best_epoch, state.best_val_loss = 0, -1e9
    assert len(epochs(state, arrays)) == 2


def test_a_loss_that_is_no_number_says_what_to_try(arrays: Dataset) -> None:
    state = TrainState.initial(config(learning_rate=1), arrays)
    with torch.no_grad():
        next(state.model.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"epoch 1, batch 1; try a learning_rate"):
        epochs(state, arrays)


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(config(), step / 100) for step in range(101)]
    assert max(rates) == pytest.approx(config().learning_rate)
    assert rates.index(max(rates)) == 5
    assert rates[-1] == pytest.approx(0.01 * config().learning_rate)
