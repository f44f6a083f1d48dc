"""Pages and exports of a job whose training runs elsewhere."""

from __future__ import annotations

import csv
import io

import pytest
from django.contrib.auth.models import User
from django.test import Client

from training.jobs import points, reports
from training.jobs.reports import BatchId, Finish, NewReport
from training.models import Job
from training.points.rows import Row


@pytest.fixture
def reported(ada: User) -> Job:
    objective = reports.ReportedObjective(metric="val/loss")
    new = NewReport(name="Elsewhere", config={"lr": 0.1, "nested": {"a": [1]}}, objective=objective)
    job = reports.register(ada, new, None, None)
    rows = [
        {"step": step, "time": 1e9 + step, "values": {"train/loss": 1 / (step + 1)}}
        for step in range(50)
    ]
    rows += [
        {"step": step, "time": 1e9 + step, "epoch": step // 10, "values": {"val/loss": "NaN"}}
        for step in (0, 10, 20)
    ]
    valid, rejected = points.read_points(rows)
    assert not rejected
    reports.record_batch(job, BatchId("c", 1), valid, "ada")
    return job


@pytest.mark.parametrize("ended", [False, True])
def test_pages_show_a_reported_job(page: Client, reported: Job, ended: bool) -> None:
    if ended:
        reports.finish(reported, Finish(status="failed", error_message="out of memory"), "ada")
    other = reports.register(reported.owner, NewReport(name="Empty"), None, None)
    for path in ("/jobs", f"/jobs/{reported.pk}", f"/compare?job={reported.pk}&job={other.pk}"):
        answer = page.get(path)
        assert answer.status_code == 200, path
        assert "Elsewhere" in answer.content.decode()
    text = page.get(f"/jobs/{reported.pk}").content.decode()
    assert "Registered" in text


@pytest.mark.parametrize("path", ["", "/metrics"])
def test_table_of_metrics_shows_last_values_that_are_no_numbers(
    page: Client, reported: Job, path: str
) -> None:
    text = page.get(f"/jobs/{reported.pk}{path}").content.decode()
    assert '<td class="number" data-latest="val/loss">NaN</td>' in text
    assert '<td class="number" data-latest="train/loss">0.02000</td>' in text


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tensorboard", "mlflow"])
def test_epochs_of_a_reported_job_are_exported(page: Client, reported: Job, kind: str) -> None:
    answer = page.get(f"/api/v1/training/jobs/{reported.pk}/export?format={kind}")
    assert answer.status_code == 200
    content = b"".join(answer)
    assert content
    if kind == "csv":
        assert len(content.splitlines()) == 1 + 3


def test_every_point_is_exported_with_step_epoch_and_time(page: Client, reported: Job) -> None:
    answer = page.get(f"/api/v1/training/jobs/{reported.pk}/export?format=points")
    rows = b"".join(answer).decode().splitlines()
    assert rows[0] == "metric,step,epoch,time,value"
    assert len(rows) == 1 + 50 + 3
    assert "train/loss,10,1,1000000010.0,0.09090909090909091" in rows
    assert "val/loss,20,2,1000000020.0,nan" in rows


def test_chart_of_values_without_steps_is_by_time(page: Client, reported: Job) -> None:
    rows = [Row(0, 1e9 + second, None, {"no/step": 0.5**second}) for second in range(9)]
    reports.record_points(reported, dict(enumerate(rows)), "ada")
    assert "by step" in page.get(f"/jobs/{reported.pk}").content.decode()
    other = reports.register(reported.owner, NewReport(name="No steps"), None, None)
    reports.record_points(other, dict(enumerate(rows)), "ada")
    text = page.get(f"/jobs/{other.pk}").content.decode()
    assert "by time" in text and "by step" not in text
    answer = page.get(f"/api/v1/training/jobs/{other.pk}/export?format=points")
    exported = b"".join(answer).decode().splitlines()
    assert exported[1:3] == ["no/step,0,,1000000000.0,1.0", "no/step,0,,1000000001.0,0.5"]
    assert len(exported) == 1 + len(rows)


def test_admin_shows_a_reported_job(client: Client, staff: User, reported: Job) -> None:
    client.force_login(staff)
    assert client.get(f"/admin/training/job/{reported.pk}/change/").status_code == 200


def test_pages_and_exports_show_the_largest_and_smallest_numbers(page: Client, ada: User) -> None:
    objective = reports.ReportedObjective(metric="loss")
    jobs = [
        reports.register(ada, NewReport(name="x", objective=objective), None, None) for _ in "ab"
    ]
    values = [1.7976931348623157e308, -1.7976931348623157e308, 1e300, 5e-324, "Infinity"]
    rows = [
        {"step": step, "time": 1e9 + step, "epoch": step + 1, "values": {"loss": value}}
        for step, value in enumerate(values)
    ]
    for job in jobs:
        valid, rejected = points.read_points(rows)
        assert not rejected
        reports.record_batch(job, BatchId("c", 1), valid, "ada")
    first, second = jobs
    compared = f"/compare?job={first.pk}&job={second.pk}"
    for path in ("/jobs", f"/jobs/{first.pk}", f"/jobs/{first.pk}/epochs", compared,
                 f"{compared}&scale=log"):  # fmt: skip
        assert page.get(path).status_code == 200, path
    for kind in ("csv", "jsonl", "tensorboard", "mlflow"):
        export = page.get(f"/api/v1/training/jobs/{first.pk}/export?format={kind}")
        assert b"".join(export), kind


FORMULAS = ["=cmd|'/C calc'!A0", "+1", "-loss", "@SUM(1)"]


@pytest.mark.parametrize("kind", ["csv", "points"])
def test_no_cell_of_an_export_is_a_formula(page: Client, ada: User, kind: str) -> None:
    job = reports.register(ada, NewReport(name="=1+1"), None, None)
    values = {**dict.fromkeys(FORMULAS, -1.0), "loss": -2.0}
    valid, rejected = points.read_points([{"step": 1, "time": 1e9, "epoch": 1, "values": values}])
    assert not rejected
    reports.record_batch(job, BatchId("c", 1), valid, "ada")
    answer = page.get(f"/api/v1/training/jobs/{job.pk}/export?format={kind}")
    rows = csv.reader(io.StringIO(b"".join(answer).decode()))
    cells = [cell for row in rows for cell in row]
    assert {f"'{name}" for name in FORMULAS} | {"loss", "-1.0", "-2.0"} <= set(cells)
    assert not [cell for cell in cells if cell in FORMULAS]
