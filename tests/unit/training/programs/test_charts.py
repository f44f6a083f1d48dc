from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from heimdall_sdk.messages import Objective
from training.programs.charts import declare_observed, group_into_charts
from training.programs.manifest import Program
from training.programs.metrics import Chart, Metric, MetricRegistry
from training.programs.toml_manifest import load_program

PROGRAM = Program(
    name="digits",
    title="Digits",
    command=("python", "train.py"),
    parameters=BaseModel,
    metrics=MetricRegistry(Metric(name="accuracy", title="Accuracy")),
    objective=Objective(metric="accuracy", direction="maximize"),
    charts=(Chart(name="accuracy", title="Accuracy", metrics=("accuracy",)),),
    table=("accuracy",),
)


def test_metrics_that_differ_in_the_split_share_a_chart() -> None:
    charts = group_into_charts(["train_loss", "lr", "val_loss", "eval/loss", "train"])
    assert [(chart.title, chart.metrics) for chart in charts] == [
        ("Loss", ("train_loss", "val_loss", "eval/loss")),
        ("Lr", ("lr",)),
        ("Train", ("train",)),
    ]
    assert len({chart.name for chart in charts}) == 3


def test_observed_metrics_are_declared_after_those_of_the_manifest() -> None:
    found = declare_observed(PROGRAM, ["val_loss", "accuracy", "train_loss"])
    assert list(found.metrics) == ["accuracy", "train_loss", "val_loss"]
    assert found.metrics["val_loss"].title == "Val loss"
    assert [chart.metrics for chart in found.charts] == [("accuracy",), ("train_loss", "val_loss")]
    assert found.table == ("accuracy", "train_loss", "val_loss")


def test_declared_metrics_get_no_charts_besides_those_of_the_manifest() -> None:
    loss = Metric(name="loss", title="Loss")
    program = replace(PROGRAM, metrics=MetricRegistry(*PROGRAM.metrics.values(), loss))
    assert declare_observed(program, ["accuracy", "loss"]).charts == PROGRAM.charts
    drawn = declare_observed(replace(program, charts=()), ["accuracy", "loss"]).charts
    assert [chart.metrics for chart in drawn] == [("accuracy",), ("loss",)]


def test_objective_shares_its_chart_with_metrics_that_only_the_script_reports(
    tmp_path: Path,
) -> None:
    """Two charts of one name hid the objective: the page drew the other in the place of both."""
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "program.toml").write_text(
        'title = "Script"\ncommand = ["python", "train.py"]\nobjective = { metric = "val/loss" }\n'
        '[metrics.accuracy]\n[charts.quality]\ntitle = "Quality"\nmetrics = ["accuracy"]\n'
    )
    program = load_program(folder)
    assert [chart.metrics for chart in program.charts] == [("accuracy",), ("val/loss",)]
    found = declare_observed(program, ["val/loss", "train/loss", "accuracy", "lr"]).charts
    assert sorted(chart.metrics for chart in found) == [
        ("accuracy",), ("lr",), ("val/loss", "train/loss"),
    ]  # fmt: skip
    assert found[0].metrics == ("val/loss", "train/loss")
    assert len({chart.name for chart in found}) == 3


def test_program_that_declares_everything_is_unchanged() -> None:
    assert declare_observed(PROGRAM, ["accuracy"]) is PROGRAM


def test_percentiles_of_a_histogram_share_a_chart() -> None:
    names = [f"{name}/p{one}" for name in ("conv/weight", "bias") for one in ("05", "50", "95")]
    charts = group_into_charts([*names, "bias/p99"])
    assert [(chart.title, len(chart.metrics), chart.section) for chart in charts] == [
        ("Conv/weight", 3, "conv"), ("Bias", 3, ""), ("Bias/p99", 1, "bias"),
    ]  # fmt: skip


def test_series_of_ranks_share_a_chart_in_their_order() -> None:
    names = [f"loss/rank{rank}" for rank in range(11)]
    charts = declare_observed(PROGRAM, reversed([*names, "rank0/lr", "rank1/lr"])).charts[1:]
    assert [(chart.title, chart.metrics) for chart in charts] == [
        ("Loss", tuple(names)),
        ("Lr", ("rank0/lr", "rank1/lr")),
    ]
    assert {chart.section for chart in charts} == {""}


def test_charts_are_ordered_by_section_with_the_objective_first() -> None:
    program = replace(PROGRAM, objective=None, charts=())
    names = ["a/x", "system/gpu10", "system/gpu2", "train/loss", "val/loss", "z", "val/acc"]
    charts = declare_observed(program, names, Objective(metric="val/acc")).charts
    assert [(chart.section, chart.metrics) for chart in charts] == [
        ("val", ("val/acc",)),
        ("", ("train/loss", "val/loss")),
        ("", ("z",)),
        ("a", ("a/x",)),
        ("system", ("system/gpu2",)),
        ("system", ("system/gpu10",)),
    ]


def test_chart_keeps_its_name_when_other_metrics_appear() -> None:
    before = group_into_charts(["train/loss", "a b"])
    after = group_into_charts(["acc", "train/loss", "val/loss", "a b", "a_b", "a/b"])
    assert {chart.name for chart in before} < {chart.name for chart in after}
    assert len({chart.name for chart in after}) == 5
    assert all(chart.name.replace("-", "").replace("_", "").isalnum() for chart in after)
