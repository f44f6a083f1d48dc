"""Artifacts of MLflow clients are files of the job."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User

from tests.integration.training.mlflow.conftest import MlflowClient
from training.accounts import limits
from training.jobs import artifacts
from training.jobs.attempts import Attempt
from training.jobs.directories import attempt_directory
from training.models import AuditEntry, Job, LimitOverride

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


def put(mlflow: MlflowClient, run_id: str, name: str, content: bytes) -> int:
    url = f"{ROOT}/0/{run_id}/artifacts/{quote(name)}"
    return mlflow.client.put(url, content, "application/octet-stream").status_code


def listed(mlflow: MlflowClient, run_id: str, path: str = "") -> list[dict[str, Any]]:
    folder = f"0/{run_id}/artifacts{path}"
    found: list[dict[str, Any]] = mlflow.client.get(ROOT, {"path": folder}).json()["files"]
    return found


@pytest.fixture
def run_id(mlflow: MlflowClient) -> str:
    return mlflow.create_run()


def test_uploaded_file_is_an_artifact_of_the_job(mlflow: MlflowClient, run_id: str) -> None:
    assert put(mlflow, run_id, "plots/a b.txt", b"hello") == 200
    (artifact,) = artifacts.list_artifacts(Job.objects.get(pk=run_id))
    assert (artifact.name, artifact.path.read_bytes()) == ("plots/a b.txt", b"hello")
    answer = mlflow.client.get(f"{ROOT}/0/{run_id}/artifacts/plots/a%20b.txt")
    assert b"".join(answer) == b"hello"
    job = Job.objects.get(pk=run_id)
    assert job.disk_bytes is not None and job.disk_bytes >= 5


def test_repeated_upload_replaces_the_file(mlflow: MlflowClient, run_id: str) -> None:
    for content in (b"first", b"second"):
        assert put(mlflow, run_id, "a.txt", content) == 200
    assert listed(mlflow, run_id) == [{"path": "a.txt", "is_dir": False, "file_size": 6}]


def test_folders_are_listed_one_level_at_a_time(mlflow: MlflowClient, run_id: str) -> None:
    for name in ("b/c/d.txt", "b/e.txt", "a.txt"):
        put(mlflow, run_id, name, b"x")
    assert listed(mlflow, run_id) == [
        {"path": "a.txt", "is_dir": False, "file_size": 1}, {"path": "b", "is_dir": True},
    ]  # fmt: skip
    assert listed(mlflow, run_id, "/b") == [
        {"path": "c", "is_dir": True}, {"path": "e.txt", "is_dir": False, "file_size": 1},
    ]  # fmt: skip
    assert listed(mlflow, run_id, "/a.txt") == listed(mlflow, run_id, "/none") == []
    found = mlflow.get("artifacts/list", {"run_id": run_id, "path": "b"})
    assert found["root_uri"] == f"mlflow-artifacts:/0/{run_id}/artifacts"
    assert [one["path"] for one in found["files"]] == ["b/c", "b/e.txt"]


@pytest.mark.parametrize("name", ["../a.txt", "a//b.txt", "b/../../a.txt", "a\\b", "a\x01b"])
def test_name_outside_the_folder_is_refused(mlflow: MlflowClient, run_id: str, name: str) -> None:
    assert put(mlflow, run_id, name, b"x") in (400, 404)
    assert artifacts.list_artifacts(Job.objects.get(pk=run_id)) == []


def test_missing_artifact_returns_resource_does_not_exist(
    mlflow: MlflowClient, run_id: str
) -> None:
    answer = mlflow.client.get(f"{ROOT}/0/{run_id}/artifacts/none.txt")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    for path in ("", "0", "x/y/z", f"0/{'f' * 32}/artifacts/a.txt"):
        assert mlflow.client.get(f"{ROOT}/{path}").status_code == 404


def test_files_count_toward_the_limit(ada: User, mlflow: MlflowClient, run_id: str) -> None:
    LimitOverride.objects.create(user=ada, name=limits.STORED_BYTES.name, maximum=10)
    assert put(mlflow, run_id, "a.txt", b"x" * 11) == 409


def test_files_are_visible_to_users_who_can_view_the_job(
    bob: User, mlflow: MlflowClient, run_id: str, mlflow_of: Callable[..., MlflowClient]
) -> None:
    put(mlflow, run_id, "a.txt", b"x")
    other = mlflow_of(bob)
    assert put(other, run_id, "b.txt", b"x") == 404
    assert other.client.get(f"{ROOT}/0/{run_id}/artifacts/a.txt").status_code == 404
    assert other.client.get(ROOT, {"path": f"0/{run_id}/artifacts"}).status_code == 404


def test_upload_needs_the_scope_report(
    ada: User, run_id: str, mlflow_of: Callable[..., MlflowClient]
) -> None:
    assert put(mlflow_of(ada, ("read",)), run_id, "a.txt", b"x") == 403


def test_upload_in_parts_is_refused_so_that_the_client_sends_one_request(
    mlflow: MlflowClient,
) -> None:
    answer = mlflow.client.post(
        "/api/2.0/mlflow-artifacts/mpu/create/0/x/artifacts/a.bin", "{}", "application/json"
    )
    assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")


def test_part_of_a_file_is_downloaded(mlflow: MlflowClient, run_id: str) -> None:
    put(mlflow, run_id, "a.txt", b"0123456789")
    headers = {"Range": "bytes=2-4"}
    answer = mlflow.client.get(f"{ROOT}/0/{run_id}/artifacts/a.txt", headers=headers)
    content = b"".join(itertools.chain(answer))
    assert (answer.status_code, content) == (206, b"234")


def test_download_of_a_checkpoint_is_audited(
    mlflow: MlflowClient, job: Job, running_attempt: Attempt
) -> None:
    folder = attempt_directory(job.pk, running_attempt.number)
    folder.mkdir(parents=True)
    best = folder / "best-000001.safetensors"
    best.write_bytes(b"weights")
    Job.objects.filter(pk=job.pk).update(checkpoint_path=str(best))
    name = "best.safetensors"
    assert mlflow.client.get(f"{ROOT}/0/{job.pk.hex}/artifacts/{name}").status_code == 200
    entry = AuditEntry.objects.get(action="download")
    assert (entry.actor, entry.detail) == ("ada", {"artifact": name})
