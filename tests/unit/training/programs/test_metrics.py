from __future__ import annotations

import pytest
from pydantic import ValidationError

from training.programs.metrics import Metric, MetricRegistry

LOSS = Metric(name="loss", title="Training loss", short_title="Loss", direction="minimize")
RMSE = Metric(name="rmse", title="RMSE", unit="m", format="distance")
REGISTRY = MetricRegistry(LOSS, RMSE)


def test_registry_keeps_the_order_of_declaration() -> None:
    assert list(REGISTRY) == ["loss", "rmse"]
    assert list(REGISTRY.select(("rmse", "loss"))) == ["rmse", "loss"]


def test_undeclared_metric_is_described_as_a_number_under_its_own_name() -> None:
    assert REGISTRY.describe("loss") is LOSS
    assert REGISTRY.describe("f1") == Metric(name="f1", title="f1", format="number")
    with pytest.raises(KeyError):
        REGISTRY.select(("f1",))


def test_label_is_the_short_title_if_there_is_one() -> None:
    assert (LOSS.label, RMSE.label) == ("Loss", "RMSE")


def test_json_for_pages_names_and_formats_each_metric() -> None:
    assert REGISTRY.as_json()["rmse"] == {
        "name": "rmse", "title": "RMSE", "label": "RMSE", "unit": "m", "direction": None,
        "format": "distance",
        "digits": 4,
    }  # fmt: skip


def test_metric_refuses_an_unknown_format() -> None:
    with pytest.raises(ValidationError, match="format"):
        Metric.model_validate({"name": "x", "title": "X", "format": "miles"})
