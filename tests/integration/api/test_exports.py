"""A run as a file that other programs read."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from tests.stack import Stack
from training import attempt as attempts
from training import lifecycle
from training.engine.config import TrainConfig
from training.models import Dataset, Job


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    made = lifecycle.submit(ada, dataset, TrainConfig(epochs=5), "Kept", tags=["a"])
    attempt, _ = attempts.claim(made.pk, "worker") or pytest.fail("no claim")
    for epoch in range(1, 6):
        metrics = {"val_loss": 1 / epoch, "val_rmse": 5.0, "val_rmse_good_geom": None}
        attempts.record_epoch(attempt, epoch, metrics, 0.5, epoch == 5, "/c")
    return made


def export(api: APIClient, job: Job, query: str = "") -> Any:
    accept = {"Accept": "text/csv"}
    return api.get(f"/api/v1/training/jobs/{job.pk}/export{query}", headers=accept)


def test_as_csv(api: APIClient, job: Job) -> None:
    answer = export(api, job)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [float(row["val_loss"]) for row in rows] == [1 / epoch for epoch in range(1, 6)]
    assert {row["val_rmse_good_geom"] for row in rows} == {""}
    assert [row["is_best"] for row in rows] == ["0"] * 4 + ["1"]


def test_as_json_lines_page_by_page(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr("training.api.exports.PAGE", 2)
    about, *epochs = map(json.loads, export(api, job, "?format=jsonl").getvalue().splitlines())
    assert (about["name"], about["tags"], about["config"]["epochs"]) == ("Kept", ["a"], 5)
    assert [one["epoch"] for one in epochs] == [1, 2, 3, 4, 5]
    assert epochs[0]["metrics"]["val_rmse_good_geom"] is None


def test_a_form_that_is_none_is_told(api: APIClient, job: Job, bob: User) -> None:
    assert "'xls' is not one of csv, jsonl" in export(api, job, "?format=xls").content.decode()
    api.force_authenticate(bob)
    assert export(api, job).status_code == 404


@pytest.mark.xdist_group("embedded")
def test_from_a_real_server(embedded: Stack) -> None:
    job = embedded.submit(epochs=2)
    embedded.until(job, "completed")
    with embedded.api() as api:
        lines = api.get(f"/jobs/{job}/export").text.splitlines()
        assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]
        whole = api.get(f"/jobs/{job}/artifacts/best.pt")
        part = api.get(f"/jobs/{job}/artifacts/best.pt", headers={"Range": "bytes=10-99"})
    assert part.status_code == 206
    assert part.content == whole.content[10:100]
