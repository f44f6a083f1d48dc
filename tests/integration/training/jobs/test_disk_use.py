"""Stored bytes per user: measured, limited at every endpoint, not exceeded by uploads."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from rest_framework.test import APIClient

from tests.jobs import reload
from training.accounts import limits
from training.accounts.limits import LimitReachedError
from training.datasets import service as datasets
from training.jobs import disk_use, lifecycle, results
from training.jobs.directories import attempt_directory
from training.localization.data.dataset import Dataset as Arrays
from training.localization.program import to_read_dataset
from training.models import Dataset, Job
from training.storage.disk_usage import dataset_bytes, job_bytes
from training.workers import supervisor

API = "/api/v1/training"
MB = 1_000_000


@pytest.fixture
def allow(settings: Any) -> Any:
    def set_limit(size: int) -> None:
        settings.USER_LIMITS = {**settings.USER_LIMITS, "stored_bytes": size}

    return set_limit


def write_file(job: Job, size: int) -> None:
    folder = attempt_directory(job.pk, 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_bytes(b"x" * size)


def put(api: APIClient, job_id: str, name: str, size: int) -> Any:
    path = f"{API}/jobs/{job_id}/artifacts/{name}"
    return api.put(path, b"x" * size, content_type="application/octet-stream")


def test_files_of_jobs_and_datasets_count(ada: User, dataset: Dataset, job: Job) -> None:
    stored = dataset_bytes(dataset.pk)
    assert limits.STORED_BYTES.count(ada.pk) == dataset.disk_bytes == stored > 0
    write_file(job, 3 * MB)
    disk_use.record_job(job.pk)
    assert limits.STORED_BYTES.count(ada.pk) == stored + job_bytes(job.pk) > stored + 3 * MB
    lifecycle.request_pause(job, "ada")
    lifecycle.delete_job(job)
    assert limits.STORED_BYTES.count(ada.pk) == stored


def test_user_at_the_storage_limit_cannot_start_anything_that_writes(
    api: APIClient, dataset: Dataset, job: Job, allow: Any
) -> None:
    lifecycle.request_pause(job, "ada")
    write_file(job, 3 * MB)
    disk_use.record_job(job.pk)
    allow(2 * MB)
    for path, body in (
        ("jobs", {"dataset_id": str(dataset.pk)}),
        (f"jobs/{job.pk}/clone", {}),
        (f"jobs/{job.pk}/resume", {}),
        ("reports", {"name": "One"}),
        ("datasets/generate", {"name": "More", "samples": 100}),
    ):
        answer = api.post(f"{API}/{path}", body, "json")
        assert (answer.status_code, answer.json()["limit"]) == (409, "stored_bytes"), path
    sentence = answer.json()["detail"]
    assert sentence.startswith("ada has 3.")
    assert sentence.endswith(
        " MB of stored files, and the limit is 2 MB: delete jobs or datasets first, or ask an "
        "operator for a higher limit."
    )


def test_dataset_over_the_storage_limit_leaves_no_file(
    ada: User, arrays: Arrays, dataset: Dataset, allow: Any
) -> None:
    folder = django_settings.DATA_DIR / "datasets"
    before = set(folder.iterdir())
    allow((dataset.disk_bytes or 0) + 1)
    with pytest.raises(LimitReachedError):
        datasets.store_dataset(ada, "Second", to_read_dataset(arrays))
    assert set(folder.iterdir()) == before


def test_artifacts_over_the_limit_are_rejected_before_and_during_upload(
    api: APIClient, allow: Any
) -> None:
    job_id = api.post(f"{API}/reports", {"name": "One"}, "json").json()["id"]
    allow(1 * MB)
    answer = put(api, job_id, "large", 2 * MB)
    assert (answer.status_code, answer.json()["limit"]) == (409, "stored_bytes")
    assert put(api, job_id, "small", 500_000).status_code == 201
    assert put(api, job_id, "another", 600_000).status_code == 409
    # A replacement counts once in the end.
    assert put(api, job_id, "small", 400_000).status_code == 201
    job = Job.objects.get(pk=job_id)
    assert job.disk_bytes == job_bytes(job.pk) < 500_000
    chunks = iter([b"x" * MB] * 20)
    with pytest.raises(LimitReachedError):
        for _ in disk_use.counted(job, chunks, announced=0):
            pass
    assert len(list(chunks)) == 11  # refused after the first step of 8 MiB


def test_retention_measures_what_changed(job: Job, dataset: Dataset) -> None:
    write_file(job, 2 * MB)
    Dataset.objects.update(disk_bytes=None)
    disk_use.mark_unmeasured(job.pk)
    assert disk_use.measure_some() == 2
    assert disk_use.measure_some() == 0
    assert (reload(job).disk_bytes or 0) > 2 * MB


@pytest.mark.django_db(transaction=True)
def test_concurrent_uploads_do_not_exceed_the_limit(api: APIClient, ada: User, allow: Any) -> None:
    jobs = [
        Job.objects.get(pk=api.post(f"{API}/reports", {"name": "A"}, "json").json()["id"])
        for _ in range(6)
    ]
    allow(20 * MB)
    barrier, done = threading.Barrier(6), []

    def upload(job: Job) -> None:
        barrier.wait()
        try:
            for _ in disk_use.counted(job, [b"x" * (3 * MB)] * 3, announced=9 * MB):
                pass
            done.append(job)
        except LimitReachedError:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=upload, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) <= 2
    assert limits.STORED_BYTES.count(ada.pk) <= 20 * MB


def test_import_at_the_limit_is_refused(api: APIClient, dataset: Dataset, allow: Any) -> None:
    allow(0)
    upload = SimpleUploadedFile("a.zip", b"no zip")
    answer = api.post(f"{API}/datasets/import", {"name": "A", "file": upload}, "multipart")
    assert (answer.status_code, answer.json()["limit"]) == (409, "stored_bytes")


def test_job_is_measured_when_its_attempt_ends(
    job: Job, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any) -> Any:
        write_file(job, 2 * MB)
        return results.pause_attempt

    monkeypatch.setattr(supervisor, "_run", run)
    assert supervisor.supervise(job.pk, "worker")
    assert (reload(job).disk_bytes or 0) > 2 * MB
