"""Exports of a run in formats that other programs read."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from tensorboardX.proto.event_pb2 import Event

from tests.jobs import claim_job
from tests.stack import Stack
from training.api import exports
from training.jobs import attempts, lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job, TrainedModel


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    made = lifecycle.submit(ada, dataset, TrainConfig(epochs=5), "Kept", tags=["a"])
    attempt = claim_job(made)
    for epoch in range(1, 6):
        metrics = {"val_loss": 1 / epoch, "val_rmse": 5.0, "val_rmse_good_geom": None}
        attempts.record_epochs(attempt, attempts.EpochReport(epoch, metrics, 0.5, epoch == 5, "/c"))
    return made


def export(api: APIClient, job: Job, query: str = "") -> Any:
    accept = {"Accept": "text/csv"}
    return api.get(f"/api/v1/training/jobs/{job.pk}/export{query}", headers=accept)


def test_csv_export_has_a_row_per_epoch(api: APIClient, job: Job) -> None:
    answer = export(api, job)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [float(row["val_loss"]) for row in rows] == [1 / epoch for epoch in range(1, 6)]
    assert {row["val_rmse_good_geom"] for row in rows} == {""}
    assert [row["is_best"] for row in rows] == ["0"] * 4 + ["1"]


def test_json_lines_export_reads_page_by_page(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr("training.api.exports.tabular.PAGE_SIZE", 2)
    about, *epochs = map(json.loads, export(api, job, "?format=jsonl").getvalue().splitlines())
    assert (about["name"], about["tags"], about["config"]["epochs"]) == ("Kept", ["a"], 5)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5]
    assert epochs[0]["metrics"]["val_rmse_good_geom"] is None


def test_tensorboard_export_is_an_event_file(api: APIClient, job: Job) -> None:
    answer = export(api, job, "?format=tensorboard")
    assert f'filename="events.out.tfevents.{job.pk}"' in answer["Content-Disposition"]
    version, *epochs = records(answer.getvalue())
    assert version.endswith(b"\x1a\x0dbrain.Event:2")
    at = struct.pack("<d", job.epochs.get(epoch=3).at.timestamp())
    loss, rmse = (struct.pack("<f", value) for value in (1 / 3, 5.0))
    # As event.proto and summary.proto number the fields; what has no value is not there.
    summary = b"\x0a\x0f\x0a\x08val_loss\x15" + loss + b"\x0a\x0f\x0a\x08val_rmse\x15" + rmse
    assert epochs[2] == b"\x09" + at + b"\x10\x03" + b"\x2a" + bytes([len(summary)]) + summary
    assert len(epochs) == 5


def records(content: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file; checks each masked checksum (RFC 3720, B.4)."""
    file = io.BytesIO(content)
    while length := file.read(8):
        (size,) = struct.unpack("<Q", length)
        parts = [(length, file.read(4))]
        parts.append((file.read(size), file.read(4)))
        for part, masked in parts:
            value = (struct.unpack("<I", masked)[0] - 0xA282EAD8) & 0xFFFFFFFF
            assert (value >> 17 | value << 15) & 0xFFFFFFFF == crc32c(part)
        yield parts[1][0]


def crc32c(content: bytes) -> int:
    """Bit by bit, independent of the implementation under test."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_tensorboard_export_of_values_beyond_float32_ends(api: APIClient, job: Job) -> None:
    job.epochs.filter(epoch=2).update(metrics={"a": 1e300, "b": -1e300, "c": 2.0, "d": None})
    exported = list(records(export(api, job, "?format=tensorboard").getvalue()))
    summary = Event.FromString(exported[2]).summary.value
    assert {value.tag: value.simple_value for value in summary} == {
        "a": float("inf"), "b": float("-inf"), "c": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["😀 run", "a\x85b\u2028c", "quotes \" and \\ and 'é'"])
def test_mlflow_export_of_any_name_is_valid_yaml(api: APIClient, job: Job, name: str) -> None:
    Job.objects.update(name=name)
    content = export(api, job, "?format=mlflow").getvalue()
    with zipfile.ZipFile(io.BytesIO(content)) as pack:
        (path,) = (
            member for member in pack.namelist() if member.endswith(f"{job.pk.hex}/meta.yaml")
        )
        assert yaml.safe_load(pack.read(path).decode())["run_name"] == name


def test_mlflow_export_is_a_run_of_the_file_store(api: APIClient, job: Job) -> None:
    content = export(api, job, "?format=mlflow").getvalue()
    with zipfile.ZipFile(io.BytesIO(content)) as pack:
        assert pack.testzip() is None
        files = {name: pack.read(name).decode() for name in pack.namelist() if name[-1] != "/"}
    (run,) = {name.rpartition("/metrics/")[0] for name in files if "/metrics/" in name}
    about = yaml.safe_load(files[f"{run}/meta.yaml"])
    assert (about["run_id"], about["run_name"], about["status"]) == (job.pk.hex, "Kept", 1)
    assert about["artifact_uri"] == f"{run}/artifacts"
    experiment = yaml.safe_load(files[f"{run.rpartition('/')[0]}/meta.yaml"])
    assert experiment["experiment_id"] == about["experiment_id"] == run.split("/")[1]
    lines = [line.split() for line in files[f"{run}/metrics/val_loss"].splitlines()]
    assert [(float(value), int(step)) for _, value, step in lines] == [
        (1 / epoch, epoch) for epoch in range(1, 6)
    ]
    assert f"{run}/metrics/val_rmse_good_geom" not in files
    assert (files[f"{run}/params/epochs"], files[f"{run}/params/model"]) == ("5", "mlp")
    assert files[f"{run}/tags/mlflow.runName"] == "Kept"


def test_mlflow_export_has_a_tag_if_the_file_of_the_model_is_missing(
    api: APIClient, job: Job
) -> None:
    def missing() -> list[bytes]:
        content = export(api, job, "?format=mlflow").getvalue()
        with zipfile.ZipFile(io.BytesIO(content)) as pack:
            return [pack.read(name) for name in pack.namelist() if "heimdall.missing" in name]

    assert missing() == []
    TrainedModel.objects.create(job=job, checkpoint_path="gone/best.safetensors", evaluation={})
    assert missing() == [b"The file of the model, model.safetensors, was deleted."]


def test_mlflow_export_stays_below_its_folder(api: APIClient, job: Job) -> None:
    params = ["../../up", "/etc/x", "..", "a/./b/", "a\\..\\b", ".hidden", "..."]
    Job.objects.update(config=dict.fromkeys(params, "1"))
    job.epochs.all().update(metrics={"../../../../up": 1.0, "loss/train": 0.5})
    content = export(api, job, "?format=mlflow").getvalue()
    with zipfile.ZipFile(io.BytesIO(content)) as pack:
        names = [name.removesuffix("/") for name in pack.namelist()]
    assert [name for name in names if posixpath.normpath(name) != name or "\\" in name] == []
    (run,) = {name.rpartition("/metrics/loss/")[0] for name in names if "/loss/" in name}
    assert {f"{run}/params/.hidden", f"{run}/params/...", f"{run}/metrics/loss/train"} <= {*names}
    assert [name for name in names if not name.startswith((run, run.rpartition("/")[0]))] == []


def test_unknown_export_format_is_reported(api: APIClient, job: Job, bob: User) -> None:
    assert (
        "'xls' is not one of csv, jsonl, points, tensorboard, mlflow"
        in export(api, job, "?format=xls").content.decode()
    )
    api.force_authenticate(bob)
    assert export(api, job).status_code == 404


@pytest.mark.xdist_group("embedded")
def test_real_server_serves_exports_and_ranges(embedded: Stack) -> None:
    job = embedded.submit(epochs=2)
    embedded.until(job, "completed")
    with embedded.api() as api:
        lines = api.get(f"/jobs/{job}/export").text.splitlines()
        assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]
        whole = api.get(f"/jobs/{job}/artifacts/best.safetensors")
        part = api.get(f"/jobs/{job}/artifacts/best.safetensors", headers={"Range": "bytes=10-99"})
        packed = io.BytesIO(api.get(f"/jobs/{job}/export?format=mlflow").content)
        names = [name.rpartition("/")[2] for name in zipfile.ZipFile(packed).namelist()]
        assert {"card.json", "model.safetensors"} <= set(names)
    assert part.status_code == 206
    assert part.content == whole.content[10:100]


def test_mlflow_export_keeps_few_values_in_memory(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {f"metric{n}": n / 7 for n in range(40)}
    job.epochs.all().delete()
    job.epochs.bulk_create(
        job.epochs.model(
            job=job, epoch=epoch, metrics=metrics, seconds=1, attempt=1, at=job.created_at
        )
        for epoch in range(1, 5001)
    )
    monkeypatch.setattr(exports.mlflow, "LINES_AT_ONCE", 10_000, raising=False)
    tracemalloc.start()
    content = export(api, job, "?format=mlflow").getvalue()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with zipfile.ZipFile(io.BytesIO(content)) as pack:
        files = {name: pack.read(name) for name in pack.namelist() if "/metrics/" in name}
    assert len(files) == 40
    assert all(text.count(b"\n") == 5000 for text in files.values())
    assert peak < 16_000_000, peak
