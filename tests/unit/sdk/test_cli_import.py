"""Reading the files of other tools."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from heimdall_sdk.api_client import ApiClient, JsonDict, RefusedError, UnavailableError
from heimdall_sdk.cli.main import main
from heimdall_sdk.importing.importer import Importer, examine_all
from heimdall_sdk.importing.metric_table import MetricTable
from heimdall_sdk.importing.recognize import read_recording
from heimdall_sdk.importing.runs import (
    Omissions,
    RecordedRun,
    UnreadableError,
    by_generation,
    join_parts,
)
from heimdall_sdk.importing.upload import (
    ImportedRun,
    Options,
    QuotaError,
    examine_run,
    import_run,
)
from heimdall_sdk.reporter import PointTuple
from tests.unit.sdk.recordings import (
    record,
    write_event_file,
    write_mlflow_database,
    write_mlruns,
    write_wandb_file,
)
from tests.unit.sdk.report_server import TOKEN, Reported, ReportServer


def recorded_runs(path: Path) -> list[RecordedRun]:
    return read_recording(str(path)).runs


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


def test_csv_export_of_heimdall_is_imported_without_derived_columns(tmp_path: Path) -> None:
    run = table(
        tmp_path, "epoch,at,seconds,is_best,loss\n1,2026-01-01T00:00:00.5+00:00,0.1,1,0.5\n"
    )
    assert read(run) == [(1, 1767225600.5, 1, {"loss": 0.5})]


@pytest.mark.parametrize(
    "text", ["epoch,'=a,'b\n1,0.5,1\n", "metric,epoch,value\n'=a,1,0.5\n'b,1,1\n"]
)
def test_quote_before_a_formula_is_not_part_of_the_name(tmp_path: Path, text: str) -> None:
    (point,) = read(table(tmp_path, text))
    assert point[3] == {"=a": 0.5, "'b": 1.0}


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


def test_incomplete_event_at_the_end_is_skipped(tmp_path: Path) -> None:
    path = write_event_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    (run,) = recorded_runs(tmp_path)
    assert len(read(run)) == 5
    assert "not written completely" in omitted(run)[0]


def test_damaged_event_file_is_named_and_does_not_affect_other_runs(tmp_path: Path) -> None:
    path = write_event_file(tmp_path / "logs" / "a")
    write_event_file(tmp_path / "logs" / "b")
    content = path.read_bytes()
    path.write_bytes(content[:30] + b"\xff" * 12 + content[42:])
    damaged, intact = recorded_runs(tmp_path / "logs")
    with pytest.raises(UnreadableError, match="damaged at byte"):
        read(damaged)
    assert len(read(intact)) == 5


def test_error_for_a_record_that_is_not_an_event_names_it(tmp_path: Path) -> None:
    path = write_event_file(tmp_path)
    path.write_bytes(path.read_bytes() + record(b"\x0a\xff\xff\xff"))
    (run,) = recorded_runs(tmp_path)
    with pytest.raises(UnreadableError, match="the record is not an event"):
        read(run)


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
    long = "a long text " * 10
    tags = {"mlflow.note.content": "A note.", "mlflow.docker.image": "x", "why": long}
    write_mlruns(tmp_path, tags=tags)
    (run,) = recorded_runs(tmp_path)
    assert (run.name, run.project, run.status) == ("Brave run", "digits", "completed")
    assert run.config == {"commit": "0012", "lr": 0.01, "nesterov": True, "optimizer": "adam"}
    assert (run.started_at, run.finished_at) == (1700000000.0, 1700000009.0)
    assert run.tags == ["stage: test"]
    assert run.notes == (
        "A note.\n\nImported from the MLflow run 0123456789abcdef0123456789abcdef.\n"
        f"User: ada\nwhy: {long}"
    )
    assert [name for _, name in run.artifacts] == ["plots/loss.txt"]
    first, second = read(run)
    assert first == (1, 1700000001.0, None, {"accuracy": 0.25, "val/loss": 0.5})
    assert second[:3] == (2, 1700000002.0, None)
    assert second[3]["accuracy"] == 0.75
    assert math.isnan(second[3]["val/loss"])
    assert omitted(run) == ["tags that MLflow itself sets"]


def test_children_of_mlflow_come_after_their_parents(tmp_path: Path) -> None:
    ids = [letter * 32 for letter in "abc"]
    for run_id, parent in zip(ids, (ids[1], ids[2], ""), strict=True):
        write_mlruns(tmp_path, run_id, tags={"mlflow.parentRunId": parent} if parent else {})
    groups = by_generation(recorded_runs(tmp_path))
    assert [[run.source.name[0] for run in group] for group in groups] == [["c"], ["b"], ["a"]]


def test_runs_with_a_parent_cycle_are_kept(tmp_path: Path) -> None:
    for run_id, parent in (("a" * 32, "b" * 32), ("b" * 32, "a" * 32)):
        write_mlruns(tmp_path, run_id, tags={"mlflow.parentRunId": parent})
    assert sum(map(len, by_generation(recorded_runs(tmp_path)))) == 2


def test_deleted_runs_and_models_of_mlflow_are_counted(tmp_path: Path) -> None:
    write_mlruns(tmp_path)
    meta = next(tmp_path.glob("*/*/meta.yaml"))
    meta.write_text(meta.read_text().replace("lifecycle_stage: active", "lifecycle_stage: deleted"))
    model = tmp_path / "456" / "models" / "m-1"
    (model / "metrics").mkdir(parents=True)
    (model / "meta.yaml").write_text("model_id: m-1\n")
    recording = read_recording(str(tmp_path))
    assert recording.runs == []
    assert recording.omissions.sentences() == ["logged models", "deleted runs"]


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "1e999", "0012", "[1]", "12345678901234567890"]
)
def test_parameter_not_representable_as_a_json_number_stays_text(tmp_path: Path, text: str) -> None:
    write_mlruns(tmp_path)
    next(tmp_path.glob("*/*/params/lr")).write_text(text)
    (run,) = recorded_runs(tmp_path)
    assert run.config["lr"] == text


def test_all_values_of_a_step_are_kept(tmp_path: Path) -> None:
    write_mlruns(tmp_path)
    path = next(tmp_path.glob("*/*/metrics/accuracy"))
    path.write_text("1000 0.1 1\n2000 0.2 2\n3000 0.3 1\n")
    (run,) = recorded_runs(tmp_path)
    found = [(*point[:2], point[3]["accuracy"]) for point in read(run) if "accuracy" in point[3]]
    assert found == [(1, 1.0, 0.1), (2, 2.0, 0.2), (1, 3.0, 0.3)]


def test_metrics_with_the_same_steps_and_times_share_points() -> None:
    table = MetricTable()
    for step in range(4):
        table.add("a", step, 10.0 + step, step)
        table.add("b", step, 10.0 + step, -step)
        table.add("c", step, 20.0 + step, 0.0)
    together = [(step, 10.0 + step, None, {"a": step, "b": -step}) for step in range(4)]
    apart = [(step, 20.0 + step, None, {"c": 0.0}) for step in range(4)]
    assert list(table.points()) == together + apart


@pytest.mark.parametrize(
    ("status", "expected"), [(1, None), (3, "completed"), (4, "failed"), (5, "cancelled")]
)
def test_mlflow_status_is_preserved(tmp_path: Path, status: int, expected: str | None) -> None:
    (run,) = recorded_runs(write_mlruns(tmp_path, status=status))
    assert run.status == expected


def test_mlflow_run_is_recognized_after_its_folder_was_moved(tmp_path: Path) -> None:
    (first,) = recorded_runs(write_mlruns(tmp_path / "a"))
    (second,) = recorded_runs(write_mlruns(tmp_path / "b"))
    assert first.identity == second.identity


def test_database_of_mlflow_is_read(tmp_path: Path) -> None:
    write_mlflow_database(tmp_path / "mlflow.db")
    for path in (tmp_path, tmp_path / "mlflow.db"):
        (run,) = recorded_runs(path)
        assert (run.name, run.project, run.status) == ("stored", "letters", "completed")
        assert (run.config, run.tags) == ({"lr": 0.1}, ["stage: test"])
        assert (run.started_at, run.finished_at) == (1700000000.0, 1700000005.0)
        losses = [(step, point["loss"]) for step, _, _, point in read(run) if "loss" in point]
        assert [step for step, _ in losses] == [1, 1, 2, 3]
        assert [value for _, value in losses[:2]] == [0.25, 0.5]
        assert math.isnan(losses[2][1])
        assert losses[3][1] == math.inf
        assert [point for *_, point in read(run) if "accuracy" in point] == [{"accuracy": 0.75}]
        assert omitted(run) == [
            "artifacts, if there are any: s3://bucket is no store on this machine",
            "datasets of runs",
        ]  # fmt: skip


def test_database_of_mlflow_is_read_by_its_url(tmp_path: Path) -> None:
    write_mlflow_database(tmp_path / "x.sqlite")
    recording = read_recording(f"sqlite:///{tmp_path}/x.sqlite")
    assert [run.name for run in recording.runs] == ["stored"]
    assert recording.omissions.sentences() == ["deleted runs", "logged models (2)"]


def test_artifacts_that_a_server_of_mlflow_stored_are_found(tmp_path: Path) -> None:
    write_mlflow_database(tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET artifact_uri = 'mlflow-artifacts:/1/a1/artifacts'")
    folder = tmp_path / "mlartifacts/1/a1/artifacts/plots"
    folder.mkdir(parents=True)
    (folder / "loss.txt").write_text("a plot")
    (run,) = recorded_runs(tmp_path)
    assert [name for _, name in run.artifacts] == ["plots/loss.txt"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [("mysql://a/b", "mysql:// cannot be read; sqlite:/// and postgresql:// can"),
     ("http://localhost:5000", "is a server; name what it stores"),
     ("sqlite:///missing.db", "missing.db is not an SQLite database"),
     ("postgresql://ada:secret@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x cannot be opened")],
)  # fmt: skip
def test_error_for_an_unreadable_url_omits_its_password(url: str, sentence: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        read_recording(url)
    assert sentence in str(raised.value)
    assert "secret" not in str(raised.value)


def test_table_with_a_row_for_each_value_has_several_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        "run,step,metric,value,time\na,1,loss,0.5,1700000001\nb,1,loss,0.25,1700000001\n"
        "a,2,loss,nan,1700000002\na,1,accuracy,0.75,1700000001\na,2,note,good,1700000002\n"
    )
    first, second = recorded_runs(path)
    assert (first.name, first.project, second.name) == ("a", "runs", "b")
    assert {step: sorted(values) for step, _, _, values in read(first) if "accuracy" in values} == {
        1: ["accuracy"]
    }
    assert [step for step, _, _, values in read(first) if "loss" in values] == [1, 2]
    assert read(second) == [(1, 1700000001.0, None, {"loss": 0.25})]
    assert omitted(first) == ["rows without a step, a metric or a number"]


def test_folder_of_tables_becomes_one_run_per_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("step,loss\n1,0.5\n")
    assert [(run.name, run.project) for run in recorded_runs(tmp_path)] == [
        ("a", tmp_path.name), ("b", tmp_path.name),
    ]  # fmt: skip


def test_offline_run_of_wandb_has_history_summary_and_config(tmp_path: Path) -> None:
    write_wandb_file(tmp_path)
    (run,) = recorded_runs(tmp_path)
    assert (run.name, run.project, run.status) == ("brave-run", "digits", "completed")
    assert (run.config, run.tags) == ({"lr": 0.1}, ["a"])
    assert run.notes == "A note.\n\nImported from the W&B run r1."
    assert (run.started_at, run.finished_at) == (1700000000.5, 1700000009.5)
    assert [name for _, name in run.artifacts] == ["notes.txt"]
    *points, best = read(run)
    assert [point[:2] for point in points] == [(step, 1700000001.5 + step) for step in range(3)]
    assert points[0][3] == {"loss": 1.0, "val.rmse": 0.0}
    assert math.isnan(points[1][3]["val.rmse"])
    assert best == (3, 1700000003.5, None, {"best": 0.75})
    assert omitted(run) == [
        "images, histograms, tables and other media of W&B", "texts and lists in the history",
    ]  # fmt: skip


def test_wandb_records_may_span_blocks(tmp_path: Path) -> None:
    path = write_wandb_file(tmp_path, steps=3000)
    assert path.stat().st_size > 5 * 32768
    (run,) = recorded_runs(path)
    assert [step for step, *_ in read(run)][:-1] == list(range(3000))


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (1, "failed"), (None, None)])
def test_exit_code_of_wandb_is_the_status(
    tmp_path: Path, code: int | None, status: str | None
) -> None:
    (run,) = recorded_runs(write_wandb_file(tmp_path, exit_code=code))
    assert run.status == status


def test_incomplete_wandb_record_at_the_end_is_skipped(tmp_path: Path) -> None:
    path = write_wandb_file(tmp_path, exit_code=None)
    path.write_bytes(path.read_bytes()[:-5])
    (run,) = recorded_runs(path)
    assert len(read(run)) == 3
    assert "a record at the end that was not written completely" in omitted(run)


def test_damaged_file_of_wandb_is_named(tmp_path: Path) -> None:
    path = write_wandb_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:60] + b"\xff" + content[61:])
    (run,) = recorded_runs(path)
    with pytest.raises(UnreadableError, match="is damaged at byte 7"):
        read(run)


def test_parent_run_without_metrics_is_imported_and_a_table_without_is_not(tmp_path: Path) -> None:
    write_mlruns(tmp_path / "store")
    for path in [*tmp_path.glob("store/*/*/metrics/**/*"), *tmp_path.glob("store/*/*/params/*")]:
        if path.is_file():
            path.unlink()
    (parent,) = recorded_runs(tmp_path / "store")
    parent.artifacts = []
    assert examine_run(parent, Options()).outcome == "not sent"
    assert examine_run(table(tmp_path, "step,note\n1,x\n"), Options()).outcome == "empty"


def test_names_of_metrics_that_the_server_rejects_are_replaced(tmp_path: Path) -> None:
    run = table(tmp_path, f"step, a ,b\u2028c,{'d' * 300}\n1,1,2,3\n")
    with ReportServer() as server:
        client = ApiClient(server.environment["HEIMDALL_URL"], TOKEN)
        result = import_run(client, run, Options(), {})
        client.close()
    assert [sorted(point["values"]) for point in server.run.points] == [["a", "b c", "d" * 250]]
    assert any("names of metrics" in sentence for sentence in result.omissions.sentences())


def test_import_stops_at_the_job_limit_of_the_user(tmp_path: Path) -> None:
    class FullServer(ApiClient):
        def post(self, path: str, body: object, *, key: str = "") -> JsonDict:
            raise RefusedError("409: ada has 500 jobs; finish some of them first.", 409)

    for number in range(50):
        write_mlruns(tmp_path, f"{number:032x}")
    importer = Importer(lambda: FullServer("http://127.0.0.1:1", TOKEN), Options())
    with pytest.raises(QuotaError, match=r"^ada has 500 jobs; finish some of them first\.$"):
        list(importer.import_all(recorded_runs(tmp_path)))


def test_import_stops_if_the_server_stays_unavailable(tmp_path: Path) -> None:
    write_mlruns(tmp_path)
    importer = Importer(lambda: ApiClient("http://127.0.0.1:1", TOKEN), Options(), patience=0.0)
    with pytest.raises(UnavailableError):
        list(importer.import_all(recorded_runs(tmp_path)))


def test_dry_run_needs_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mlruns(tmp_path)
    assert main(["import", "--dry-run", str(tmp_path), str(tmp_path / "missing.csv")]) == 1
    captured = capsys.readouterr()
    assert "digits/Brave run: 4 values in 2 points, 1 artifact\n" in captured.out
    assert "Runs: 1 to import." in captured.out
    assert "missing.csv does not exist" in captured.err


def test_database_of_another_tool_is_named_in_the_error(tmp_path: Path) -> None:
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


def test_data_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    for path, sentence in (
        (tmp_path, "cannot be imported; give a .csv"),
        (tmp_path / "missing.csv", "does not exist"),
    ):
        with pytest.raises(UnreadableError, match=sentence):
            list(recorded_runs(path))


def test_configuration_with_nan_is_imported_as_text(tmp_path: Path) -> None:
    path = write_wandb_file(tmp_path, config={"lr": math.nan, "limits": [1, -math.inf]})
    (run,) = recorded_runs(path)
    assert _imported(run).registration["config"] == {"lr": "NaN", "limits": [1, "-Infinity"]}


def _import(run: RecordedRun) -> tuple[ImportedRun, Reported]:
    with ReportServer() as server:
        client = ApiClient(server.environment["HEIMDALL_URL"], TOKEN)
        result = import_run(client, run, Options(), {})
        client.close()
    return result, server.run


def _imported(run: RecordedRun) -> Reported:
    return _import(run)[1]


def test_values_with_a_nan_timestamp_are_skipped() -> None:
    def read_points(_: Omissions) -> Iterator[PointTuple]:
        yield 1, math.nan, None, {"loss": 0.5}
        yield 2, 1700000000.0, None, {"loss": 0.25}

    run = RecordedRun(Path("x"), "a" * 16, "x", read_points)
    result, found = _import(run)
    assert (found.steps, result.points) == ([2], 1)
    assert result.omissions.sentences() == ["points at a time that is not a number"]
    assert found.registration["started_at"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("times", "finished_at", "expected"),
    [((), 1700000000.0, ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z")),
     # The first row of a table has no time; the clock of the others was ahead of this machine's.
     ((0.0, 1700007200.0), None, ("1970-01-01T00:00:00Z", "2023-11-14T22:13:20Z"))],
)  # fmt: skip
def test_run_with_inconsistent_times_starts_before_it_ends(
    tmp_path: Path, times: tuple[float, ...], finished_at: float | None, expected: tuple[str, str]
) -> None:
    def read_points(_: Omissions) -> Iterator[PointTuple]:
        for step, moment in enumerate(times):
            yield step, moment, None, {"loss": 0.5}

    source = tmp_path / "run.csv"
    source.touch()
    os.utime(source, (1700000000, 1700000000))
    run = RecordedRun(source, "a" * 16, "x", read_points, config={"lr": 1})
    run.finished_at = finished_at
    found = _imported(run)
    assert found.ending is not None
    assert (found.registration["started_at"], found.ending["finished_at"]) == expected


def test_unreadable_artifact_does_not_stop_the_import_of_its_run(tmp_path: Path) -> None:
    (run,) = recorded_runs(write_wandb_file(tmp_path))
    # `wandb.save` links to files, which another machine does not have.
    (run.source.parent / "files" / "model.pt").symlink_to(tmp_path / "elsewhere" / "model.pt")
    (run,) = recorded_runs(run.source)
    result, found = _import(run)
    assert found.artifacts == {"notes.txt": b"a file"}
    assert found.ending is not None
    assert result.artifacts == 1
    assert any("model.pt" in sentence for sentence in result.omissions.sentences())


@pytest.mark.parametrize(
    "uri", ["{0}/private", "file://{0}/private", "mlflow-artifacts:/../private"]
)
def test_artifacts_are_read_from_folders_of_runs_only(tmp_path: Path, uri: str) -> None:
    """A database that came from elsewhere must not choose which files are uploaded."""
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("secret")
    write_mlflow_database(tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET artifact_uri = ?", [uri.format(tmp_path)])
    (run,) = recorded_runs(tmp_path)
    assert run.artifacts == []
    assert any("artifacts" in sentence for sentence in run.omissions.sentences())


def test_unreadable_tables_and_runs_do_not_stop_the_others(tmp_path: Path) -> None:
    tables, store = tmp_path / "tables", write_mlruns(tmp_path / "store", "a" * 32)
    tables.mkdir()
    (tables / "bad.csv").write_text("x,y\n1,2\n")
    (tables / "good.csv").write_text("step,loss\n1,0.5\n")
    (tables / "huge.csv").write_text("step,metric,value\n1e30,loss,0.5\n")
    for run_id in ("b", "c"):
        write_mlruns(store, run_id * 32)
    (store / "456" / ("b" * 32) / "params" / "lr").write_bytes(b"\xff")
    (store / "456" / ("c" * 32) / "metrics" / "accuracy").write_bytes(b"\xff")
    for path, good in ((tables, ["good"]), (store, ["Brave run"])):
        results = list(examine_all(recorded_runs(path), Options()))
        assert [one.name for one in results if one.outcome == "not sent"] == good
        failed = [one.error for one in results if one.outcome == "failed"]
        assert len(failed) == 2
        assert all(str(path) in error for error in failed)


def test_wandb_record_with_out_of_range_numbers_does_not_affect_other_runs(tmp_path: Path) -> None:
    (run,) = recorded_runs(write_wandb_file(tmp_path, history={"_step": 1 << 70, "loss": 1}))
    with ReportServer() as server:
        importer = Importer(lambda: ApiClient(server.environment["HEIMDALL_URL"], TOKEN), Options())
        results = list(importer.import_all([run, table(tmp_path, "step,loss\n1,0.5\n")]))
    assert {one.outcome for one in results} == {"failed", "imported"}


def test_files_of_a_resumed_run_of_wandb_are_one_run(tmp_path: Path) -> None:
    first = write_wandb_file(tmp_path / "a", steps=2, exit_code=None)
    second = write_wandb_file(tmp_path / "b", steps=3, started_at=1700000100)
    second.parent.joinpath("files", "more.txt").write_text("more")
    runs = [run for path in (second, first) for run in recorded_runs(path)]
    for found in (join_parts(runs), join_parts([*recorded_runs(tmp_path), *runs])):
        (run,) = found
        assert (run.status, run.started_at) == ("completed", 1700000000.5)
        assert run.finished_at == 1700000109.5
        assert [name for _, name in run.artifacts] == ["notes.txt", "more.txt"]
        losses = [(step, values["loss"]) for step, *_, values in read(run) if "loss" in values]
        assert [step for step, _ in losses] == [0, 1, 0, 1, 2]


def test_each_outage_gets_the_full_waiting_time(tmp_path: Path) -> None:
    class RestartingServer(ApiClient):
        failing: ClassVar = [2, 5]  # numbers of requests
        requests = 0

        def _send(self, *arguments: Any, **named: Any) -> JsonDict:
            RestartingServer.requests += 1
            if RestartingServer.requests in self.failing:
                time.sleep(0.5)
                raise UnavailableError("the server restarts")
            return super()._send(*arguments, **named)

    run = table(tmp_path, "step,loss\n" + "".join(f"{step},1\n" for step in range(20_001)))
    with ReportServer() as server:
        importer = Importer(
            lambda: RestartingServer(server.environment["HEIMDALL_URL"], TOKEN), Options(), 0.4
        )
        (result,) = importer.import_all([run])
    assert (result.outcome, result.points) == ("imported", 20_001)


def test_names_of_failed_runs_are_shown_without_control_characters() -> None:
    def read_points(_: Omissions) -> Iterator[PointTuple]:
        raise UnreadableError("\x1b[2Jx is damaged.")

    run = RecordedRun(Path("x"), "a" * 16, "\x1b[2Jname", read_points)
    (result,) = examine_all([run], Options())
    assert "\x1b" not in result.name + result.error


def test_table_with_a_row_for_each_value_keeps_its_epochs(tmp_path: Path) -> None:
    """Such as the export of a job's points."""
    run = table(
        tmp_path,
        "metric,step,epoch,time,value\nloss,1,,1700000001,0.5\nloss,2,1,1700000002,0.25\n"
        "loss,3,1.5,1700000003,0.125\n",
    )
    assert [(step, epoch) for step, _, epoch, _ in read(run)] == [(1, None), (2, 1), (3, None)]
    assert omitted(run) == ["epochs that are not whole numbers"]
