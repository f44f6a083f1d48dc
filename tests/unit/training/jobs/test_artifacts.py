"""The files of a job that can be downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.jobs import artifacts
from training.models import Job
from training.programs.checkpoint_files import MODEL


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
