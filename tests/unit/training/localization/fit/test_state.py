from __future__ import annotations

import math

import pytest
import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.state import TrainState, learning_rate, seed_everything

SMALL = {"hidden": 16, "heads": 2, "layers": 1}


def state(arrays: Dataset, **config: object) -> TrainState:
    return TrainState.initial(TrainConfig.model_validate({**SMALL, **config}), arrays)


def test_initial_state_refers_to_its_dataset(arrays: Dataset) -> None:
    initial = state(arrays)
    assert initial.receivers == tuple(receiver.id for receiver in arrays.receivers)
    assert initial.dataset_hash == arrays.content_hash
    assert (initial.epoch, initial.best_epoch, initial.best_val_loss) == (0, None, math.inf)


def test_only_a_lower_validation_loss_is_the_best(arrays: Dataset) -> None:
    training = state(arrays)
    assert [training.finish_epoch(loss) for loss in (3.0, 2.0, 2.0, math.nan, 1.0)] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert (training.epoch, training.best_epoch, training.best_val_loss) == (5, 5, 1.0)


def test_training_ends_after_the_last_epoch(arrays: Dataset) -> None:
    training = state(arrays, epochs=2)
    training.finish_epoch(2.0)
    assert not training.is_finished
    training.finish_epoch(1.0)
    assert training.is_finished


def test_patience_counts_epochs_since_the_best(arrays: Dataset) -> None:
    training = state(arrays, epochs=50, patience=2)
    for loss in (1.0, 2.0):
        training.finish_epoch(loss)
    assert not training.is_finished
    training.finish_epoch(2.0)
    assert training.is_finished


def test_norms_and_biases_have_no_weight_decay(arrays: Dataset) -> None:
    training = state(arrays, weight_decay=0.5)
    decayed, others = training.optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in others["params"])
    count = len(decayed["params"]) + len(others["params"])
    assert count == len(list(training.model.parameters()))


def test_learning_rate_warms_up_then_decays() -> None:
    config = TrainConfig()
    rates = [learning_rate(config, step / 100) for step in range(101)]
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates.index(max(rates)) == 5
    assert rates[0] == pytest.approx(0.01 * config.learning_rate)
    assert rates[-1] == pytest.approx(0.01 * config.learning_rate)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_random_numbers_depend_on_seed_and_epoch() -> None:
    drawn = set()
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0)):
        seed_everything(seed, epoch)
        drawn.add(torch.rand(1).item())
    assert len(drawn) == 3


def test_optimizer_state_moves_with_the_network(arrays: Dataset) -> None:
    training = state(arrays)
    training.model(*_tokens(training))[0].sum().backward()
    training.optimizer.step()
    training.to(torch.device("cpu"))
    for parameter_state in training.optimizer.state.values():
        assert all(value.device.type == "cpu" for value in parameter_state.values())


def test_weight_average_starts_at_the_network_and_follows_it_slowly(arrays: Dataset) -> None:
    training = state(arrays)
    weight, mean = (next(network.parameters()) for network in (training.model, training.predictor))
    for step, value, expected in ((1, 1.0, 1.0), (8, 2.0, 1.8), (9, 7.0, 1.8)):
        with torch.no_grad():
            weight.fill_(value)
        training.update_average(step)
        torch.testing.assert_close(mean, torch.full_like(mean, expected))


def test_weights_of_attention_are_not_averaged(arrays: Dataset) -> None:
    training = state(arrays, model="attention")
    training.update_average(1)
    assert training.predictor is training.model


def _tokens(training: TrainState) -> tuple[torch.Tensor, torch.Tensor]:
    receivers = 1 + len(training.receivers)
    return torch.randn(4, receivers, 12), torch.ones(4, receivers, dtype=torch.bool)
