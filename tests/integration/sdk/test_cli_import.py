"""`heimdall import` against a running server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.integration.sdk.conftest import Heimdall
from tests.stack import Stack, new_database
from tests.unit.sdk.recordings import MLFLOW_TABLES, write_event_file, write_mlruns

Capture = pytest.CaptureFixture[str]


def import_once(heimdall: Heimdall, capsys: Capture, *words: str) -> Any:
    capsys.readouterr()
    status = heimdall("import", "--json", *words)
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out)


def columns(installation: Stack, job_id: str) -> Any:
    with installation.api() as api:
        return api.get(f"/jobs/{job_id}/metrics").json()


def count_jobs(installation: Stack, tag: str) -> int:
    with installation.api() as api:
        return len(api.get("/jobs", params={"tag": tag}).json()["results"])


def test_csv_imported_twice_is_one_job_with_each_point_once(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "run.csv"
    path.write_text("epoch,loss\n1,0.5\n2,0.25\n3,nan\n")
    options = (str(path), "--objective", "loss", "--project", "tables", "--tag", "csv")
    first = import_once(heimdall, capsys, *options)
    second = import_once(heimdall, capsys, *options)
    assert (first["outcome"], second["outcome"]) == ("imported", "already there")
    assert first["job_id"] == second["job_id"]
    assert (first["points"], second["points"]) == (3, 0)
    found = columns(installation, first["job_id"])
    assert (found["epoch"], found["total"]) == ([1, 2, 3], 3)
    assert found["series"] == {"loss": [0.5, 0.25, None]}
    assert found["not_finite"] == {"loss": {"2": "NaN"}}
    job = installation.job(first["job_id"])
    assert (job["status"], job["project"], job["best_epoch"], job["best_value"]) == (
        "completed", "tables", 2, 0.25,
    )  # fmt: skip
    assert count_jobs(installation, "csv") == 1


def test_grown_csv_adds_its_new_rows(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "growing.csv"
    path.write_text("step,loss,time\n1,0.5,1700000001\n")
    first = import_once(heimdall, capsys, str(path))
    path.write_text("step,loss,time\n1,0.5,1700000001\n2,0.25,1700000002\n")
    for outcome in ("continued", "already there"):
        again = import_once(heimdall, capsys, str(path))
        assert (again["job_id"], again["outcome"]) == (first["job_id"], outcome)
    assert installation.job(first["job_id"])["finished_at"] == "2023-11-14T22:13:22Z"
    assert columns(installation, first["job_id"])["series"] == {"loss": [0.5, 0.25]}


def test_grown_csv_without_times_adds_no_duplicates(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "timeless.csv"
    path.write_text("step,loss\n1,0.5\n")
    os.utime(path, (1700000000, 1700000000))
    first = import_once(heimdall, capsys, str(path))
    path.write_text("step,loss\n1,0.5\n2,0.25\n")
    assert import_once(heimdall, capsys, str(path))["outcome"] == "continued"
    with installation.api() as api:
        text = api.get(f"/jobs/{first['job_id']}/export", params={"format": "points"}).text
    assert [line.split(",")[1] for line in text.splitlines()[1:]] == ["1", "2"]


def test_deleted_job_is_imported_again(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "deleted.csv"
    path.write_text("step,loss\n1,0.5\n")
    first = import_once(heimdall, capsys, str(path))
    with installation.api() as api:
        assert api.delete(f"/jobs/{first['job_id']}").status_code == 204
    second = import_once(heimdall, capsys, str(path))
    assert second["outcome"] == "imported"
    assert columns(installation, second["job_id"])["series"] == {"loss": [0.5]}


def test_tensorboard_folder_becomes_one_job_per_run(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_event_file(tmp_path / "logs" / name, f"events.out.tfevents.1.{name}")
    assert heimdall("import", str(tmp_path / "logs")) == 0
    assert heimdall("import", str(tmp_path / "logs")) == 0
    output = capsys.readouterr().out
    assert output.count("10 values in 5 points, imported as job") == 2
    assert output.count("already there as job") == 2
    assert "Runs: 2 imported.\n20 values in 10 points" in output
    assert "No counterpart: images (2)" in output
    with installation.api() as api:
        jobs = api.get("/jobs", params={"project": "logs"}).json()["results"]
    assert {job["name"] for job in jobs} == {"a", "b"}
    assert columns(installation, jobs[0]["id"])["series"]["train/lr"] == [0.5] * 5


def test_mlflow_run_is_imported_completely(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    store = write_mlruns(tmp_path / "mlruns", "f" * 32, status=4)
    found = import_once(heimdall, capsys, str(store))
    assert import_once(heimdall, capsys, str(store))["job_id"] == found["job_id"]
    job = installation.job(found["job_id"])
    assert (job["name"], job["project"], job["status"]) == ("Brave run", "digits", "failed")
    assert job["config"]["optimizer"] == "adam"
    assert job["tags"] == ["stage: test"]
    assert job["started_at"] == "2023-11-14T22:13:20Z"
    assert job["finished_at"] == "2023-11-14T22:13:29Z"
    assert columns(installation, found["job_id"])["series"]["accuracy"] == [0.25, 0.75]
    with installation.api() as api:
        artifact = api.get(f"/jobs/{found['job_id']}/artifacts/plots/loss.txt")
    assert artifact.text == "a plot"


@pytest.mark.parametrize("form", ["csv", "tensorboard", "mlflow"])
def test_exported_job_can_be_imported(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path, form: str
) -> None:
    assert heimdall("submit", "counting", "--json", "-p", "epochs=2") == 0
    job_id = json.loads(capsys.readouterr().out)["id"]
    assert heimdall("watch", job_id) == 0
    names = {"csv": "run.csv", "tensorboard": "events.out.tfevents.1", "mlflow": "run.zip"}
    path = tmp_path / names[form]
    assert heimdall("export", job_id, "--format", form, "-o", str(path)) == 0
    if form == "mlflow":
        import zipfile

        with zipfile.ZipFile(path) as pack:
            pack.extractall(tmp_path / "unpacked")
        path = tmp_path / "unpacked" / "mlruns"
    found = import_once(heimdall, capsys, str(path), "--steps-are-epochs")
    series = columns(installation, job_id)["series"]
    assert columns(installation, found["job_id"])["series"] == series


def write_children(folder: Path, count: int) -> Path:
    """Runs of which the first is the parent of the others."""
    ids = [uuid4().hex for _ in range(count)]
    write_mlruns(folder, ids[0])
    for run_id in ids[1:]:
        write_mlruns(folder, run_id, tags={"mlflow.parentRunId": ids[0]})
    return folder


def test_child_run_has_its_parent(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    store = write_children(tmp_path / "mlruns", 2)
    capsys.readouterr()
    assert heimdall("import", "--json", "--tag", "family", str(store)) == 0
    parent, child = map(json.loads, capsys.readouterr().out.splitlines())
    assert installation.job(child["job_id"])["parent_id"] == parent["job_id"]


def test_killed_import_continues_without_duplicates(
    start_heimdall: Callable[..., subprocess.Popen[str]],
    heimdall: Heimdall,
    capsys: Capture,
    installation: Stack,
    tmp_path: Path,
) -> None:
    store = write_children(tmp_path / "mlruns", 24)
    killed = start_heimdall("import", str(store), "--tag", "killed")
    assert killed.stdout
    for _ in range(5):
        assert "imported as job" in killed.stdout.readline()
    killed.kill()
    killed.wait()
    assert heimdall("import", str(store), "--tag", "killed") == 0
    assert "already there" in capsys.readouterr().out
    assert heimdall("import", str(store), "--tag", "killed") == 0
    assert "Runs: 24 already there." in capsys.readouterr().out
    with installation.api() as api:
        jobs = api.get("/jobs", params={"tag": "killed", "page_size": 200}).json()["results"]
    assert len(jobs) == 24
    assert {job["status"] for job in jobs} == {"completed"}
    for job in jobs[::7]:
        found = columns(installation, job["id"])
        assert (found["step"], found["series"]["accuracy"]) == ([1, 2], [0.25, 0.75])


def test_import_waits_while_a_web_process_restarts(
    start_heimdall: Callable[..., subprocess.Popen[str]], installation: Stack, tmp_path: Path
) -> None:
    store = write_children(tmp_path / "mlruns", 20)
    importing = start_heimdall("import", str(store), "--tag", "restarted")
    assert importing.stdout and installation.web
    assert "imported as job" in importing.stdout.readline()
    installation.web.kill()
    installation.web.wait()
    installation.start_web()
    output, error = importing.communicate(timeout=60)
    assert (importing.returncode, error) == (0, "")
    assert output.count(" as job ") == 19
    assert count_jobs(installation, "restarted") == 20


def test_mlflow_database_on_postgresql_is_imported_completely(
    heimdall: Heimdall, capsys: Capture, installation: Stack
) -> None:
    with new_database() as url:
        if not url:
            pytest.skip("PostgreSQL is not available")
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(MLFLOW_TABLES)
        found = import_once(heimdall, capsys, url.replace("postgres://", "postgresql+psycopg2://"))
    assert (found["name"], found["values"]) == ("stored", 5)
    assert columns(installation, found["job_id"])["series"]["accuracy"] == [None, None, 0.75]


def test_rejected_run_does_not_stop_the_others(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    store = write_mlruns(tmp_path / "mlruns", "d" * 32)
    write_mlruns(tmp_path / "mlruns", "e" * 32)
    meta = store / "456" / ("d" * 32) / "meta.yaml"
    meta.write_text(meta.read_text().replace("start_time: 1", "start_time: 32"))
    assert heimdall("import", str(store), "--tag", "refused") == 1
    captured = capsys.readouterr()
    assert "is in the future" in captured.err
    assert "Runs: 1 imported, 1 failed." in captured.out
    assert count_jobs(installation, "refused") == 1


def test_invalid_file_sends_nothing(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "invalid.csv"
    path.write_text("step,loss\n1,0.5\nx,0.5\n")
    assert heimdall("import", str(path), "--tag", "invalid") == 1
    assert "line 3: the step is 'x'" in capsys.readouterr().err
    assert count_jobs(installation, "invalid") == 0
