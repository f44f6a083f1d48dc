"""What is read from the files of other tools."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from heimdall_sdk.cli.importing import recorded_runs
from heimdall_sdk.importing.runs import Omissions, RecordedRun, UnreadableError
from heimdall_sdk.reporter import PointTuple
from tests.unit.sdk.recordings import (
    record,
    write_event_file,
    write_mlflow_database,
    write_mlruns,
)


def read(run: RecordedRun) -> list[PointTuple]:
    return list(run.read_points(Omissions()))


def omitted(run: RecordedRun) -> list[str]:
    omissions = Omissions(run.omissions.counts.copy())
    list(run.read_points(omissions))
    return omissions.sentences()


def table(tmp_path: Path, text: str, name: str = "run.csv") -> RecordedRun:
    path = tmp_path / name
    path.write_text(text)
    (run,) = recorded_runs(path)
    return run


def test_csv_has_steps_epochs_times_and_gaps(tmp_path: Path) -> None:
    run = table(
        tmp_path,
        "\ufeffstep,epoch,timestamp,loss,note,val loss\n"
        "10,1,2026-01-01T00:00:00Z,0.5,good,\n\n20,2,1767225601000,nan,,0.25\n",
    )
    first, second = read(run)
    assert first == (10, 1767225600.0, 1, {"loss": 0.5})
    assert second[:3] == (20, 1767225601.0, 2)
    assert math.isnan(second[3]["loss"])
    assert second[3]["val loss"] == 0.25
    assert omitted(run) == ["text in the column 'note'"]


def test_csv_with_epochs_only_has_them_as_steps(tmp_path: Path) -> None:
    run = table(tmp_path, "epoch;loss\n0;1\n1;0.5\n")
    assert [point[0:3:2] for point in read(run)] == [(0, 0), (1, 1)]
    assert omitted(run) == ["the times of the steps: the table has no column of times"]


def test_heimdalls_own_export_is_read_without_derived_columns(tmp_path: Path) -> None:
    run = table(
        tmp_path, "epoch,at,seconds,is_best,loss\n1,2026-01-01T00:00:00.5+00:00,0.1,1,0.5\n"
    )
    assert read(run) == [(1, 1767225600.5, 1, {"loss": 0.5})]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a,b\n1,2\n", "no column of steps (step or epoch); it has a, b. Name it with --step."),
     ("", "is empty"), ("step,a,a\n1,2,3\n", "several columns 'a'"),
     ("step,a\n1,2\n-1,2\n", "line 3: the step is '-1', not a whole number"),
     ("step,a\nx,2\n", "line 2: the step is 'x'")],
)  # fmt: skip
def test_invalid_csv_is_named_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        read(table(tmp_path, text))
    assert sentence in str(raised.value)
    assert "run.csv" in str(raised.value)


def test_grown_csv_is_the_same_run_and_another_file_is_not(tmp_path: Path) -> None:
    before = table(tmp_path, "step,a\n1,2\n").identity
    assert table(tmp_path, "step,a\n1,2\n2,3\n").identity == before
    assert table(tmp_path, "step,a\n1,2\n", "other.csv").identity != before


def test_event_file_has_scalars_by_step(tmp_path: Path) -> None:
    write_event_file(tmp_path / "logs" / "first")
    (run,) = recorded_runs(tmp_path / "logs")
    assert (run.name, run.project) == ("first", "logs")
    assert [(step, time) for step, time, _, _ in read(run)] == [(i, 100.0 + i) for i in range(5)]
    assert read(run)[1][3] == {"train/loss": 0.5, "train/lr": 0.5}
    assert omitted(run) == ["images", "histograms"]


def test_half_an_event_at_the_end_is_left_out(tmp_path: Path) -> None:
    path = write_event_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    (run,) = recorded_runs(tmp_path)
    assert len(read(run)) == 5
    assert "not written completely" in omitted(run)[0]


def test_damaged_event_file_is_named(tmp_path: Path) -> None:
    path = write_event_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:30] + b"\xff" * 12 + content[42:])
    with pytest.raises(UnreadableError, match="damaged at byte"):
        list(recorded_runs(tmp_path))


def test_record_that_is_no_event_is_named(tmp_path: Path) -> None:
    path = write_event_file(tmp_path)
    path.write_bytes(path.read_bytes() + record(b"\x0a\xff\xff\xff"))
    with pytest.raises(UnreadableError, match="record 12 is not an event"):
        list(recorded_runs(tmp_path))


def test_hyperparameters_and_tensors_of_tensorflow_2_are_read(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.proto.tensor_pb2 import TensorProto
    from tensorboardX.summary import hparams

    path = write_event_file(tmp_path)
    tensor = TensorProto(dtype=1, float_val=[0.125])
    value = Summary.Value(tag="epoch_loss", tensor=tensor)
    found = [Event(step=9, summary=Summary(value=[value]))]
    found += [
        Event(summary=summary)
        for summary in hparams({"lr": 0.5, "layers": 3, "name": "x", "bias": True}, {"m": 1.0})
    ]
    path.write_bytes(
        path.read_bytes() + b"".join(record(event.SerializeToString()) for event in found)
    )
    (run,) = recorded_runs(tmp_path)
    assert run.config == {"lr": 0.5, "layers": 3, "name": "x", "bias": True}
    assert read(run)[-1][3] == {"epoch_loss": 0.125}


def test_mlflow_run_has_parameters_metrics_tags_and_artifacts(tmp_path: Path) -> None:
    write_mlruns(tmp_path, tags={"mlflow.note.content": "A note.", "mlflow.parentRunId": "1"})
    (run,) = recorded_runs(tmp_path)
    assert (run.name, run.project, run.status) == ("Brave run", "digits", "completed")
    assert run.config == {"commit": "0012", "lr": 0.01, "nesterov": True, "optimizer": "adam"}
    assert run.tags == ["stage=test"]
    assert run.notes.startswith("A note.\n\nImported from the MLflow run 0123456789abcdef")
    assert [name for _, name in run.artifacts] == ["plots/loss.txt"]
    values = {(step, *found): found for step, _, _, found in read(run)}
    assert values[1, "val/loss"] == {"val/loss": 0.5}
    assert math.isnan(values[2, "val/loss"]["val/loss"])
    assert values[2, "accuracy"] == {"accuracy": 0.75}
    assert omitted(run) == ["that it is a child of another run", "tags that MLflow itself sets"]


@pytest.mark.parametrize(
    ("status", "expected"), [(1, None), (3, "completed"), (4, "failed"), (5, "cancelled")]
)
def test_mlflow_status_is_kept(tmp_path: Path, status: int, expected: str | None) -> None:
    (run,) = recorded_runs(write_mlruns(tmp_path, status=status))
    assert run.status == expected


def test_mlflow_run_keeps_its_identity_in_another_place(tmp_path: Path) -> None:
    (first,) = recorded_runs(write_mlruns(tmp_path / "a"))
    (second,) = recorded_runs(write_mlruns(tmp_path / "b"))
    assert first.identity == second.identity


def test_database_of_mlflow_is_read(tmp_path: Path) -> None:
    write_mlflow_database(tmp_path / "mlflow.db")
    for path in (tmp_path, tmp_path / "mlflow.db"):
        (run,) = recorded_runs(path)
        assert (run.name, run.project, run.status) == ("stored", "letters", "completed")
        assert (run.config, run.tags) == ({"lr": 0.1}, ["stage=test"])
        assert [step for step, *_ in read(run)] == [1, 2, 3]
        values = [point[3]["loss"] for point in read(run)]
        assert values[0] == 0.5
        assert math.isnan(values[1])
        assert values[2] == math.inf
        assert omitted(run) == ["artifacts that are not on this machine (s3://bucket/x)"]


def test_other_database_is_named(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE a (b)")
    with pytest.raises(UnreadableError, match=r"other\.db is not a database of MLflow"):
        list(recorded_runs(tmp_path / "other.db"))


@pytest.mark.parametrize(
    ("text", "name"),
    [("run_name: plain\n", "plain"), ("run_name: 'it''s'\n", "it's"),
     ('run_name: "caf\\xE9 \\u2713"\n', "café ✓"),
     ("run_name: a long name that\n  is folded\n", "a long name that is folded"),
     (json.dumps({"run_name": "in JSON"}), "in JSON")],
)  # fmt: skip
def test_yaml_of_mlflow_is_read(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "meta.yaml").write_text(text)
    (run,) = recorded_runs(tmp_path)
    assert run.name == name


def test_broken_metric_file_is_named_with_its_line(tmp_path: Path) -> None:
    write_mlruns(tmp_path)
    path = next(tmp_path.glob("*/*/metrics/accuracy"))
    path.write_text("1 0.5 1\nnonsense\n")
    (run,) = recorded_runs(tmp_path)
    with pytest.raises(UnreadableError, match="accuracy, line 2: 'nonsense'"):
        read(run)


def test_what_cannot_be_imported_is_named(tmp_path: Path) -> None:
    for path, sentence in (
        (tmp_path, "is none of what can be imported"),
        (tmp_path / "missing.csv", "does not exist"),
    ):
        with pytest.raises(UnreadableError, match=sentence):
            list(recorded_runs(path))
