"""`heimdall import` against a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sdk.conftest import Heimdall
from tests.stack import Stack
from tests.unit.sdk.recordings import write_event_file, write_mlruns

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
    assert (first["created"], second["created"]) == (True, False)
    assert first["job_id"] == second["job_id"]
    assert first["points"] == 3
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
    path.write_text("step,loss\n1,0.5\n")
    first = import_once(heimdall, capsys, str(path))
    path.write_text("step,loss\n1,0.5\n2,0.25\n")
    assert import_once(heimdall, capsys, str(path))["job_id"] == first["job_id"]
    assert columns(installation, first["job_id"])["series"] == {"loss": [0.5, 0.25]}


def test_deleted_job_is_imported_again(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "deleted.csv"
    path.write_text("step,loss\n1,0.5\n")
    first = import_once(heimdall, capsys, str(path))
    with installation.api() as api:
        assert api.delete(f"/jobs/{first['job_id']}").status_code == 204
    second = import_once(heimdall, capsys, str(path))
    assert second["created"]
    assert columns(installation, second["job_id"])["series"] == {"loss": [0.5]}


def test_tensorboard_folder_is_one_job_a_run(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_event_file(tmp_path / "logs" / name, f"events.out.tfevents.1.{name}")
    assert heimdall("import", str(tmp_path / "logs")) == 0
    assert heimdall("import", str(tmp_path / "logs")) == 0
    output = capsys.readouterr().out
    assert output.count("5 points, imported as job") == 2
    assert output.count("5 points, was imported before as job") == 2
    assert output.count("no counterpart: images") == 4
    with installation.api() as api:
        jobs = api.get("/jobs", params={"project": "logs"}).json()["results"]
    assert {job["name"] for job in jobs} == {"a", "b"}
    assert columns(installation, jobs[0]["id"])["series"]["train/lr"] == [0.5] * 5


def test_mlflow_run_arrives_whole(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    store = write_mlruns(tmp_path / "mlruns", "f" * 32, status=4)
    found = import_once(heimdall, capsys, str(store))
    assert import_once(heimdall, capsys, str(store))["job_id"] == found["job_id"]
    job = installation.job(found["job_id"])
    assert (job["name"], job["project"], job["status"]) == ("Brave run", "digits", "failed")
    assert job["config"]["optimizer"] == "adam"
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


def test_invalid_file_sends_nothing(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "invalid.csv"
    path.write_text("step,loss\n1,0.5\nx,0.5\n")
    assert heimdall("import", str(path), "--tag", "invalid") == 1
    assert "line 3: the step is 'x'" in capsys.readouterr().err
    assert count_jobs(installation, "invalid") == 0
