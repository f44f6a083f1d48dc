"""Requests are validated like by MLflow's server."""

from __future__ import annotations

from typing import Any

import pytest

from training.mlflow import messages as m
from training.mlflow.errors import MlflowError
from training.mlflow.operations import parse

METRIC: dict[str, Any] = {"run_id": "r", "key": "loss", "value": 0.5, "timestamp": 1}


@pytest.mark.parametrize("name", ["loss", "val loss", "a/b.c", "a..b", ".a", "é", "a:b-c_d"])
def test_name_is_kept(name: str) -> None:
    assert parse(m.LogMetric, {**METRIC, "key": name}).key == name


@pytest.mark.parametrize(
    "name", ["", "a/", "/a", "a//b", "../a", "a/../b", "..", ".", "./a", "a;b", "a\tb", "a\n"]
)
def test_metric_name_that_is_not_a_normalized_path_is_rejected(name: str) -> None:
    cases: list[tuple[type[m.Message], dict[str, Any]]] = [
        (m.LogMetric, METRIC), (m.LogParam, {"run_id": "r"}), (m.SetTag, {"run_id": "r"}),
    ]  # fmt: skip
    for message, row in cases:
        with pytest.raises(MlflowError):
            parse(message, {**row, "key": name})


@pytest.mark.parametrize(
    "values",
    [
        {"timestamp": -1}, {"run_id": ""}, {"run_id": None}, {"value": None}, {"value": "x"},
        {"step": 1.5}, {"step": 2**63}, {"timestamp": "x"}, {"key": 5},
    ],
)  # fmt: skip
def test_metric_with_a_wrong_value_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(MlflowError) as refused:
        parse(m.LogMetric, {**METRIC, **values})
    assert refused.value.code == "INVALID_PARAMETER_VALUE"


def test_long_values_are_cut_as_by_the_server_of_mlflow() -> None:
    row = {"run_id": "r", "key": "k", "value": "v" * 9000}
    assert len(parse(m.LogParam, row).value) == 6000
    assert len(parse(m.SetTag, row).value) == 8000


def test_null_counts_as_a_missing_field() -> None:
    assert parse(m.LogParam, {"run_id": "r", "key": "k", "value": None}).value == ""


def test_batch_has_one_value_of_a_parameter() -> None:
    params = [{"key": "lr", "value": "1"}, {"key": "lr", "value": "1"}]
    with pytest.raises(MlflowError, match="Duplicate parameter keys"):
        parse(m.LogBatch, {"run_id": "r", "params": params})


def test_first_wrong_item_ends_the_validation_of_a_list() -> None:
    """An error for each of a million items would take gigabytes."""
    with pytest.raises(MlflowError) as refused:
        parse(m.LogBatch, {"run_id": "r", "metrics": [1] * 3, "tags": [None] * 3})
    assert refused.value.message.count("Invalid value") == 2
