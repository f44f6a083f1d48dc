from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from heimdall_sdk.messages import Objective
from training.programs.manifest import ManifestError, Preset, Program
from training.programs.metrics import Chart, Metric, MetricRegistry
from training.programs.registry import DEFAULT_PROGRAM, UnknownProgramError, get_program


class Parameters(BaseModel):
    epochs: int = 1


PROGRAM = Program(
    name="digits",
    title="Digits",
    command=("train.py",),
    parameters=Parameters,
    metrics=MetricRegistry(
        Metric(name="val_loss", title="Validation loss", direction="minimize"),
        Metric(name="accuracy", title="Accuracy", unit="%", direction="maximize"),
        Metric(name="rate", title="Rate"),
    ),
    objective=Objective(metric="val_loss"),
    headline="accuracy",
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"headline": "loss"}, "'digits': metric 'loss' is not declared"),
        ({"objective": Objective(metric="loss")}, "metric 'loss' is not declared"),
        ({"table": ("rate", "loss")}, "metric 'loss' is not declared"),
        ({"charts": (Chart(name="c", title="C", metrics=("loss",)),)}, "metric 'loss'"),
        ({"presets": (Preset("p", "P", "", {"width": 3}),)}, "'p' sets the unknown parameter 'wi"),
    ],
)
def test_contradictory_manifest_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        replace(PROGRAM, **changes)


def test_direction_of_the_objective_overrides_that_of_the_metric() -> None:
    assert PROGRAM.direction_of("val_loss") == "minimize"
    assert PROGRAM.direction_of("accuracy") == "maximize"
    assert PROGRAM.direction_of("rate") == PROGRAM.direction_of("undeclared") == "minimize"
    reversed_objective = replace(PROGRAM, objective=Objective(metric="rate", direction="maximize"))
    assert reversed_objective.direction_of("rate") == "maximize"


def test_objective_choices_are_distinct() -> None:
    assert PROGRAM.objective_choices == ("val_loss", "accuracy")
    assert replace(PROGRAM, headline="val_loss").objective_choices == ("val_loss",)


def test_result_columns_come_from_the_best_epochs_metrics() -> None:
    assert PROGRAM.at_best_epoch({"val_loss": 0.5, "rate": 1.0}) == {
        "best_value": 0.5,
        "headline_value": None,
    }


def test_program_without_datasets_has_no_dataset_format() -> None:
    with pytest.raises(ManifestError, match="'digits' does not use datasets"):
        _ = PROGRAM.dataset_format


def test_parameter_title_falls_back_to_the_name() -> None:
    assert PROGRAM.parameter_title("epochs") == "epochs"


def test_unknown_program_error_lists_the_installed_ones() -> None:
    assert get_program().name == DEFAULT_PROGRAM
    with pytest.raises(UnknownProgramError, match="Unknown program 'chess'; installed: localizer"):
        get_program("chess")
