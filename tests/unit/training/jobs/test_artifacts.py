"""The files of a job that can be downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs import reload
from training.jobs import artifacts, disk_use
from training.jobs.directories import attempt_directory
from training.models import Job
from training.programs.checkpoint_files import MODEL
from training.programs.messages import ExportRequest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "attempt-001").mkdir()
    return tmp_path / "attempt-001"


def names(job: Job) -> list[str]:
    return [artifact.name for artifact in artifacts.list_artifacts(job)]


def with_checkpoint(folder: Path, name: str, *others: str) -> Job:
    for one in (name, *others):
        (folder / one).write_bytes(b"content")
    return Job(checkpoint_path=str(folder / name))


def test_job_without_checkpoint_has_none() -> None:
    assert names(Job()) == []


def test_running_job_offers_best_and_latest_checkpoint(folder: Path) -> None:
    job = with_checkpoint(
        folder, "epoch-000009.safetensors", "best-000004.safetensors", "best-000002.safetensors"
    )
    best, latest = artifacts.list_artifacts(job)
    assert (best.name, best.path.name) == ("best.safetensors", "best-000004.safetensors")
    assert (latest.name, latest.kind, latest.bytes) == ("epoch-000009.safetensors", "checkpoint", 7)


def test_completed_job_offers_its_checkpoint_once_and_the_exports(folder: Path) -> None:
    job = with_checkpoint(folder, "best-000004.safetensors", MODEL, "card.json")
    assert names(job) == [MODEL, "card.json", "best.safetensors", "model.pt2", "model.onnx"]


def test_export_has_no_size_before_its_first_download(folder: Path) -> None:
    job = with_checkpoint(folder, "best-000004.safetensors", MODEL)
    exports = [one for one in artifacts.list_artifacts(job) if one.kind == "export"]
    assert [one.bytes for one in exports] == [None, None]
    (folder / "model.onnx").write_bytes(b"12345")
    assert [one.bytes for one in exports] == [None, 5]


def test_deleted_files_are_not_offered(folder: Path) -> None:
    job = with_checkpoint(folder, "best-000004.safetensors", MODEL)
    for path in folder.iterdir():
        path.unlink()
    assert names(job) == []
    folder.rmdir()
    assert names(job) == []


def test_existing_file_is_not_exported_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "inference_client", lambda: pytest.fail("exported again"))
    job = with_checkpoint(folder, "best-000004.safetensors", MODEL, "model.pt2")
    (export,) = (one for one in artifacts.list_artifacts(job) if one.name == "model.pt2")
    assert artifacts.ensure_exported(export).read_bytes() == b"content"


@pytest.mark.django_db
def test_export_counts_toward_the_stored_bytes(
    folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        def request(self, request: ExportRequest, _seconds: float) -> None:
            Path(request.output).write_bytes(b"x" * 100_000)

    own = attempt_directory(job.pk, 1)
    own.mkdir(parents=True)
    job.checkpoint_path = with_checkpoint(own, "best-000004.safetensors", MODEL).checkpoint_path
    disk_use.record_job(job.pk)
    before = reload(job).disk_bytes or 0
    monkeypatch.setattr(artifacts, "inference_client", Client)
    (export,) = (one for one in artifacts.list_artifacts(job) if one.name == "model.onnx")
    artifacts.ensure_exported(export)
    assert (reload(job).disk_bytes or 0) >= before + 100_000


def test_program_file_is_found_by_its_name(folder: Path) -> None:
    job = with_checkpoint(folder, "best-000004.safetensors", MODEL)
    found = artifacts.find_artifact(job, "model.onnx")
    assert found is not None and found.needs_export
    assert artifacts.find_artifact(job, "card.json") is None
