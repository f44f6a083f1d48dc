from __future__ import annotations

from typing import Any

import pytest

from training.sweeps import space_syntax
from training.sweeps.search_space import TrialResult, choices, grid, suggest
from training.sweeps.spec import validate_spec
from training.validation import InvalidInputError

DATASET = "6b0c1d9e-7f1f-4b8a-9d0f-0d6f6a3f8f10"
WIDE = {"learning_rate": {"min": 1e-4, "max": 1e-1, "log": True}, "hidden": {"values": [16, 64]}}


def plan(**sent: Any) -> Any:
    return validate_spec({"name": "S", "dataset_id": DATASET, "space": WIDE, **sent})


def test_a_grid_is_every_combination_once() -> None:
    space = {"layers": {"min": 1, "max": 3, "step": 1}, "model": {"values": ["mlp", "attention"]}}
    points = list(grid(space))
    assert len(points) == 6
    assert points[:2] == [{"layers": 1, "model": "mlp"}, {"layers": 1, "model": "attention"}]
    assert plan(method="grid", space=space).total == 6
    assert plan(method="grid", space=space, trials=4).total == 4


def test_steps_of_a_range_do_not_gather_rounding() -> None:
    assert choices({"min": 0.1, "max": 0.3, "step": 0.1}) == [0.1, 0.2, 0.3]


def test_the_same_seed_draws_the_same_points_within_bounds() -> None:
    points = [suggest("random", WIDE, {}, 7, trial) for trial in range(1, 9)]
    assert points == [suggest("random", WIDE, {}, 7, trial) for trial in range(1, 9)]
    assert points != [suggest("random", WIDE, {}, 8, trial) for trial in range(1, 9)]
    assert all(1e-4 <= one["learning_rate"] <= 1e-1 for one in points)
    assert len({one["learning_rate"] for one in points}) == 8
    assert {one["hidden"] for one in points} == {16, 64}


def test_tpe_looks_where_earlier_trials_were_good() -> None:
    space = {"dropout": {"min": 0.0, "max": 0.9}}
    tried = [
        TrialResult({"dropout": 0.9 * index / 29}, abs(0.9 * index / 29 - 0.2), 5, "completed")
        for index in range(30)
    ]
    tried += [
        TrialResult({"dropout": 0.21}, None, 0, "running"),
        TrialResult({"dropout": 0.8}, 0.6, 3, "stopped"),
    ]
    drawn = [suggest("tpe", space, {}, 1, trial, tried)["dropout"] for trial in range(40, 60)]
    assert sum(abs(one - 0.2) < 0.15 for one in drawn) >= 14


def test_what_does_not_go_together_is_drawn_afresh() -> None:
    space = {"hidden": {"min": 16, "max": 256}}
    for trial in range(1, 20):
        assert suggest("random", space, {"heads": 8}, 0, trial)["hidden"] % 8 == 0


@pytest.mark.parametrize(
    ("sent", "field", "sentence"),
    [
        ({"space": {"depth": {"values": [1]}}}, "space.depth", "Unknown field; a training has"),
        ({"space": {"epochs": {"values": []}}}, "space.epochs", "at least one value"),
        ({"space": {"epochs": {"values": [5, 0]}}}, "space.epochs", "0 is too small: at least 1."),
        ({"space": {"epochs": {"values": [5, 5]}}}, "space.epochs", "named twice"),
        ({"space": {"epochs": {"min": 9, "max": 5}}}, "space.epochs", "is not below"),
        ({"space": {"epochs": {"min": 1.5, "max": 5}}}, "space.epochs", "not a whole number: 1.5"),
        ({"space": {"dropout": {"min": 0, "max": 0.5, "log": True}}}, "space.dropout", "above 0"),
        ({"space": {"dropout": {"min": 0.1, "max": 0.5, "step": 1e-9}}}, "space.dropout", "1000"),
        ({"space": {"model": {"min": 1, "max": 2}}}, "space.model", "Only numbers have a range"),
        ({"space": {"epochs": {"low": 1}}}, "space.epochs", "Write"),
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
def test_each_wrong_field_gets_a_sentence(sent: Any, field: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        plan(**sent)
    assert sentence.lower() in " ".join(refused.value.errors[field]).lower()


def test_a_base_that_only_fits_the_varied_values_is_fine() -> None:
    space = {"heads": {"values": [1, 5]}}
    assert plan(config={"hidden": 25}, space=space, method="grid").total == 2


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
def test_search_space_text_is_parsed_and_formatted(text: str, options: dict[str, Any]) -> None:
    assert space_syntax.parse_options(text) == options
    assert space_syntax.parse_options(space_syntax.format_options(options)) == options
