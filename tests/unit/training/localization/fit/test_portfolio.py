"""Trees, neighbors and their weights, on a small dataset without arrival times."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.localization.config import GenerateConfig, TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation.evaluate import evaluate_localizer
from training.localization.evaluation.types import Evaluation
from training.localization.fit.calibration import calibrate
from training.localization.fit.loop import fit
from training.localization.fit.portfolio import stack
from training.localization.fit.state import TrainState
from training.localization.geometry import Floats
from training.localization.inference import saved_model
from training.localization.inference.export import export
from training.localization.localizer.features import Signals
from training.localization.localizer.localizer import Localizer, locate_by_members, predict_split
from training.localization.localizer.portfolio import (
    NEIGHBORS,
    NETWORK,
    POSTERIOR,
    TREES,
    Trees,
)
from training.localization.metrics import position_errors
from training.localization.synthetic.generate import generate_dataset
from training.programs.checkpoint_files import MODEL

CONFIG = TrainConfig(epochs=3, hidden=16, heads=2, layers=1, batch_size=32)


@pytest.fixture(scope="module")
def untimed(arrays: Dataset) -> Dataset:
    return replace(arrays, toa=np.full_like(arrays.toa, np.nan))


@pytest.fixture(scope="module")
def state(untimed: Dataset) -> TrainState:
    state = TrainState.initial(CONFIG, untimed)
    for _ in fit(state, untimed):
        pass
    return state


@pytest.fixture(scope="module")
def localizer(state: TrainState, untimed: Dataset) -> Localizer:
    return calibrate(state, untimed)


@pytest.fixture(scope="module")
def evaluation(localizer: Localizer, untimed: Dataset) -> Evaluation:
    return evaluate_localizer(localizer, untimed)


def test_portfolio_is_no_worse_than_its_best_member_on_the_validation_split(
    localizer: Localizer, untimed: Dataset
) -> None:
    rows = untimed.rows("val")
    target = untimed.target[rows]
    members = locate_by_members(localizer, untimed, rows)
    assert set(members) == {NETWORK, TREES, NEIGHBORS, POSTERIOR}
    best = min(position_errors(mean, target).mean() for mean in members.values())
    combined = predict_split(localizer, untimed, rows)
    assert position_errors(combined.mean, target).mean() <= 1.02 * best


def test_position_is_the_weighted_mean_of_the_members(
    localizer: Localizer, untimed: Dataset
) -> None:
    assert localizer.portfolio is not None
    rows = untimed.rows("test")
    members = locate_by_members(localizer, untimed, rows)
    expected = sum(localizer.portfolio.weights[name] * mean for name, mean in members.items())
    assert predict_split(localizer, untimed, rows).mean == pytest.approx(expected, abs=1e-3)
    assert sum(localizer.portfolio.weights.values()) == pytest.approx(1)


def test_repeated_fit_is_bit_identical(
    state: TrainState, localizer: Localizer, untimed: Dataset
) -> None:
    again = calibrate(state, untimed).state_dict()
    assert again.keys() == localizer.state_dict().keys()
    for name, tensor in localizer.state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_flattened_trees_predict_the_same_as_scikit_learn(
    localizer: Localizer, untimed: Dataset
) -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    from training.localization.fit.portfolio import _flatten

    assert localizer.portfolio is not None
    trees = localizer.portfolio.members[TREES]
    assert isinstance(trees, Trees)
    signals = Signals.from_dataset(untimed, np.arange(len(untimed)))
    inputs = trees.vectors(signals)
    target = untimed.target - untimed.target.mean(axis=0)
    forest = ExtraTreesRegressor(10, random_state=0).fit(inputs.numpy(), target)
    found = _flatten(trees.vectors, forest).locate(inputs).numpy()
    assert found == pytest.approx(forest.predict(inputs.numpy()), abs=0.1)


def test_saved_portfolio_predicts_the_same_and_contains_only_weighted_members(
    state: TrainState,
    localizer: Localizer,
    untimed: Dataset,
    evaluation: Evaluation,
    tmp_path: Path,
) -> None:
    assert localizer.portfolio is not None
    saved_model.save_model(tmp_path, localizer, state, untimed, evaluation)
    loaded = saved_model.load_model(tmp_path / MODEL).localizer
    assert loaded.portfolio is not None
    used = {name for name, weight in localizer.portfolio.weights.items() if weight}
    assert set(loaded.portfolio.weights) == used | {NETWORK}
    rows = untimed.rows("test")
    expected, found = (predict_split(one, untimed, rows) for one in (localizer, loaded))
    assert found.mean == pytest.approx(expected.mean, abs=1e-3)
    assert found.covariance == pytest.approx(expected.covariance, rel=1e-4)
    card = json.loads((tmp_path / saved_model.CARD).read_text())["metrics"]
    assert card["members"] == evaluation["members"]
    assert card["verdict"] == evaluation["verdict"]


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_export_contains_all_members(
    state: TrainState,
    localizer: Localizer,
    untimed: Dataset,
    evaluation: Evaluation,
    tmp_path: Path,
    suffix: str,
) -> None:
    """`export` itself compares the file with the model."""
    if suffix == ".onnx":
        pytest.importorskip("onnxscript", reason="needs requirements-extra.txt")
        pytest.importorskip("onnxruntime", reason="needs requirements-extra.txt")
    equal = copy.deepcopy(localizer)
    assert equal.portfolio is not None
    equal.portfolio.weights = dict.fromkeys(equal.portfolio.weights, 0.25)
    equal.portfolio.spread = True
    saved_model.save_model(tmp_path, equal, state, untimed, evaluation)
    output = tmp_path / f"model{suffix}"
    export(tmp_path / MODEL, output)
    assert output.exists()


def test_evaluation_has_the_members_and_the_trees_as_a_baseline(evaluation: Evaluation) -> None:
    assert set(evaluation["members"]) == {NETWORK, TREES, NEIGHBORS, POSTERIOR}
    assert evaluation["baselines"][TREES]["mean_m"] == evaluation["members"][TREES]["mean_m"]
    assert evaluation["verdict"]


def test_receiver_out_of_service_is_neither_heard_nor_silent(
    localizer: Localizer, untimed: Dataset
) -> None:
    assert localizer.portfolio is not None
    trees = localizer.portfolio.members[TREES]
    assert isinstance(trees, Trees)
    vectors = trees.vectors
    signals = Signals.from_dataset(untimed, untimed.rows("test")[:1])
    absent = torch.full_like(signals.rssi, torch.nan)
    silent = signals._replace(rssi=absent, snr=absent)
    off = silent._replace(in_service=torch.zeros_like(signals.in_service))
    assert (vectors(off) > vectors(silent))[:, : len(untimed.receivers)].all()


def test_portfolio_is_omitted_with_too_few_training_samples(arrays: Dataset) -> None:
    split = arrays.split.copy()
    split[arrays.rows("train")[40:]] = 2
    few = replace(arrays, split=split)
    assert calibrate(TrainState.initial(CONFIG, few), few).portfolio is None


def test_pause_ends_the_training_loop(state: TrainState, untimed: Dataset) -> None:
    class Paused(Exception):
        pass

    def check() -> None:
        raise Paused

    with pytest.raises(Paused):
        calibrate(state, untimed, check=check)


def _positions(bias: list[float]) -> tuple[Floats, Floats, np.ndarray]:
    """Members with independent errors of 10 m, and one of them with a bias."""
    rng = np.random.default_rng(1)
    target = rng.normal(0, 100, (400, 2))
    noise = rng.normal(0, 10, (len(bias), 400, 2))
    return target + noise + np.array(bias)[:, None, None], target, np.arange(400) // 10


def test_equal_members_share_the_weight() -> None:
    assert stack(*_positions([0, 0, 0])) == pytest.approx(np.full(3, 1 / 3), abs=0.1)


def test_member_with_large_errors_has_no_weight() -> None:
    weights = stack(*_positions([0, 0, 500]))
    assert weights[2] == 0
    assert weights.sum() == pytest.approx(1)


def test_few_groups_keep_weights_from_the_extremes() -> None:
    positions, target, group = _positions([0, 4, 4])
    many, few = (stack(positions, target, names) for names in (group, group // 20))
    assert few.max() <= many.max() + 0.05


@pytest.mark.parametrize("timed", [False, True])
def test_fitted_posterior_is_better_than_maximum_likelihood(timed: bool) -> None:
    """It has the mean of all likely positions where maximum likelihood has the likeliest one."""
    timing = 1000.0 if timed else None
    dataset = generate_dataset(GenerateConfig(samples=600, seed=4, timing_sigma_ns=timing))
    evaluation = evaluate_localizer(
        calibrate(TrainState.initial(CONFIG, dataset), dataset), dataset
    )
    baselines = evaluation["baselines"]
    assert baselines[POSTERIOR]["rmse_m"] < baselines["maximum_likelihood"]["rmse_m"]
    assert evaluation["members"][POSTERIOR]["weight"] > 0.5
    assert evaluation["test"]["coverage_68"] > 0.5
