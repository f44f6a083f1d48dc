from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from training.programs.registry import get_program
from training.sweeps import space_syntax
from training.sweeps.search_space import FieldSpace, Space, TrialResult, grid, list_values, suggest
from training.sweeps.spec import validate_spec
from training.validation import InvalidInputError

PARAMETERS = get_program().parameters
DATASET = "6b0c1d9e-7f1f-4b8a-9d0f-0d6f6a3f8f10"
WIDE: Space = {
    "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
    "hidden": {"values": [16, 64]},
}


def number(point: Mapping[str, object], name: str) -> float:
    value = point[name]
    assert isinstance(value, int | float)
    return value


def spec(**sent: Any) -> Any:
    return validate_spec({"name": "S", "dataset_id": DATASET, "space": WIDE, **sent})


def test_grid_lists_every_combination_once() -> None:
    space: Space = {
        "layers": {"min": 1, "max": 3, "step": 1},
        "model": {"values": ["mlp", "attention"]},
    }
    points = list(grid(space))
    assert len(points) == 6
    assert points[:2] == [{"layers": 1, "model": "mlp"}, {"layers": 1, "model": "attention"}]
    assert spec(method="grid", space=space).total == 6
    assert spec(method="grid", space=space, trials=4).total == 4


def test_list_values_of_a_range_has_no_accumulated_rounding_error() -> None:
    assert list_values({"min": 0.1, "max": 0.3, "step": 0.1}) == [0.1, 0.2, 0.3]


def test_random_search_is_deterministic_and_within_bounds() -> None:
    points = [suggest(PARAMETERS, "random", WIDE, {}, 7, trial) for trial in range(1, 9)]
    assert points == [suggest(PARAMETERS, "random", WIDE, {}, 7, trial) for trial in range(1, 9)]
    assert points != [suggest(PARAMETERS, "random", WIDE, {}, 8, trial) for trial in range(1, 9)]
    assert all(1e-4 <= number(point, "learning_rate") <= 1e-1 for point in points)
    assert len({point["learning_rate"] for point in points}) == 8
    assert {point["hidden"] for point in points} == {16, 64}


def test_tpe_samples_near_good_trials() -> None:
    space: Space = {"dropout": {"min": 0.0, "max": 0.9}}
    results = [
        TrialResult({"dropout": 0.9 * index / 29}, abs(0.9 * index / 29 - 0.2), 5, "completed")
        for index in range(30)
    ]
    results += [
        TrialResult({"dropout": 0.21}, None, 0, "running"),
        TrialResult({"dropout": 0.8}, 0.6, 3, "pruned"),
    ]
    drawn = [suggest(PARAMETERS, "tpe", space, {}, 1, trial, results) for trial in range(40, 60)]
    assert sum(abs(number(point, "dropout") - 0.2) < 0.15 for point in drawn) >= 14


def test_invalid_combinations_are_drawn_again() -> None:
    space: Space = {"hidden": {"min": 16, "max": 256}}
    for trial in range(1, 20):
        point = suggest(PARAMETERS, "random", space, {"heads": 8}, 0, trial)
        assert number(point, "hidden") % 8 == 0


@pytest.mark.parametrize(
    ("sent", "field", "sentence"),
    [
        ({"space": {"depth": {"values": [1]}}}, "space.depth", "Unknown parameter; the"),
        ({"space": {"epochs": {"values": []}}}, "space.epochs", "at least one value"),
        ({"space": {"epochs": {"values": [5, 0]}}}, "space.epochs", "0 is too small; it must"),
        ({"space": {"epochs": {"values": [5, 5]}}}, "space.epochs", "occurs twice"),
        ({"space": {"epochs": {"min": 9, "max": 5}}}, "space.epochs", "must be less than"),
        ({"space": {"epochs": {"min": 1.5, "max": 5}}}, "space.epochs", "whole number, not 1.5"),
        ({"space": {"dropout": {"min": 0, "max": 0.5, "log": True}}}, "space.dropout", "greater"),
        ({"space": {"dropout": {"min": 0.1, "max": 0.5, "step": 1e-9}}}, "space.dropout", "1000"),
        ({"space": {"epochs": {"min": 1, "max": 10**400, "step": 1}}},
         "space.epochs.max", "too large"),
        ({"space": {"epochs": {"min": 1, "max": 5, "step": 9}}}, "space.epochs", "at most the"),
        ({"space": {"epochs": {"min": 1, "max": 5, "step": 0}}}, "space.epochs", "greater than 0"),
        ({"space": {"epochs": {"min": True, "max": 5}}}, "space.epochs", "whole number, not True"),
        ({"space": {"dropout": {"min": 0.1, "max": "x"}}}, "space.dropout", "a number, not 'x'"),
        ({"space": {"dropout": {"min": 0.1, "max": 0.5, "log": 1}}}, "space.dropout", "true or"),
        ({"space": {"epochs": {"values": 5}}}, "space.epochs", "at least one value"),
        ({"space": {"epochs": {"values": list(range(1, 1002))}}}, "space.epochs", "Too many"),
        ({"space": {"hidden": {"min": 16, "max": 520, "step": 1}, "epochs": {"values": [1, 2]}},
          "method": "grid"}, "space", "The grid has 1010 points; at most 1000 allowed."),
        ({"space": {"model": {"min": 1, "max": 2}}}, "space.model", "Only numeric parameters"),
        ({"space": {"epochs": {"low": 1}}}, "space.epochs", "Use"),
        ({"space": {"epochs": {"min": 1, "max": 9}}, "method": "grid"}, "space.epochs", "step"),
        ({"config": {"epoch": 3}}, "config.epoch", "did you mean 'epochs'?"),
        ({"config": {"epochs": "x"}}, "config.epochs", "'x' is not a whole number."),
        ({"config": {"heads": 3}}, "space", "heads: 3 does not divide the width"),
        ({"method": "guess"}, "method", "not one of"),
        ({"trials": 0}, "trials", "too small"),
        ({"early_stopping": {"rule": "luck"}}, "early_stopping.rule", "not one of"),
        ({"parallel": 2}, "parallel", "Unknown field"),
        ({"space": {}}, "space", "at least 1"),
    ],
)  # fmt: skip
def test_invalid_field_gets_a_sentence(sent: Any, field: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        spec(**sent)
    assert sentence.lower() in " ".join(refused.value.errors[field]).lower()


def test_fixed_parameters_may_be_valid_only_with_searched_values() -> None:
    space = {"heads": {"values": [1, 5]}}
    assert spec(config={"hidden": 25}, space=space, method="grid").total == 2


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("16, 32,64", {"values": [16, 32, 64]}),
        ("mlp, attention", {"values": ["mlp", "attention"]}),
        ("true", {"values": [True]}),
        ("0.0001 to 0.1 log", {"min": 0.0001, "max": 0.1, "log": True}),
        ("1 to 8 step 2", {"min": 1, "max": 8, "step": 2}),
    ],
)
def test_search_space_syntax_round_trips(text: str, options: FieldSpace) -> None:
    assert space_syntax.parse_options(text) == options
    assert space_syntax.parse_options(space_syntax.format_options(options)) == options


def test_tpe_samples_near_the_largest_values_when_maximizing() -> None:
    space: Space = {"dropout": {"min": 0.0, "max": 0.9}}
    results = [
        TrialResult({"dropout": 0.9 * index / 29}, -abs(0.9 * index / 29 - 0.2), 5, "completed")
        for index in range(30)
    ]
    points = [
        suggest(PARAMETERS, "tpe", space, {}, 1, trial, results, "maximize")
        for trial in range(40, 60)
    ]
    assert sum(abs(number(point, "dropout") - 0.2) < 0.15 for point in points) >= 14


@pytest.mark.parametrize("objective", ["val_loss", "val_rmse"])
def test_objective_is_a_stored_metric_of_the_program(objective: str) -> None:
    assert spec(objective=objective).objective == objective
    with pytest.raises(InvalidInputError, match=r"objective: 'val_mean' is not one of"):
        spec(objective="val_mean")
