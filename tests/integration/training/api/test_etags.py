"""ETags: unchanged data is not sent again, and changed data is not overwritten unseen."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from tests.jobs import claim_job
from training.jobs import attempts, directories, lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job

API = "/api/v1/training"


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    made = lifecycle.submit(ada, dataset, TrainConfig(epochs=9), "Watched")
    attempt = claim_job(made)
    folder = directories.attempt_directory(made.pk, 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "best-00001.safetensors").write_bytes(bytes(range(256)) * 10)
    checkpoint = str(folder / "best-00001.safetensors")
    metrics = {"val_loss": 1.0, "val_rmse": 5.0}
    attempts.record_epochs(attempt, attempts.EpochReport(1, metrics, 0.1, True, checkpoint))
    return Job.objects.get(pk=made.pk)


def next_epoch(job: Job) -> None:
    attempt = attempts.Attempt(job.pk, job.attempt)
    metrics = {"val_loss": 0.5, "val_rmse": 4.0}
    attempts.record_epochs(
        attempt,
        attempts.EpochReport(job.current_epoch + 1, metrics, 0.1, True, job.checkpoint_path),
    )


WATCHED = ["/jobs", "/jobs/{id}", "/jobs/{id}/epochs", "/jobs/{id}/metrics", "/jobs/{id}/events"]


@pytest.mark.parametrize("path", [*WATCHED, "/jobs/{id}/artifacts", "/datasets", "/models"])
def test_unchanged_resource_is_304(api: APIClient, job: Job, path: str) -> None:
    url = API + path.format(id=job.pk)
    first = api.get(url)
    assert first["Cache-Control"] == "private, no-cache"
    again = api.get(url, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    compressed = api.get(url, headers={"If-None-Match": f'"other", W/{first["ETag"]}'})
    assert compressed.status_code == 304


@pytest.mark.parametrize("path", WATCHED)
def test_epoch_changes_the_etag(api: APIClient, job: Job, path: str) -> None:
    url = API + path.format(id=job.pk)
    first = api.get(url)
    next_epoch(job)
    again = api.get(url, headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 200
    assert again["ETag"] != first["ETag"]


@pytest.mark.usefixtures("no_rate_limits")
def test_unchanged_history_is_not_read_from_the_database(
    api: APIClient, job: Job, django_assert_num_queries: Any
) -> None:
    for path in WATCHED[1:]:
        url = API + path.format(id=job.pk)
        tag = api.get(url)["ETag"]
        with django_assert_num_queries(2):  # the user's teams, and the job
            assert api.get(url, headers={"If-None-Match": tag}).status_code == 304


def test_etag_of_a_full_event_page_does_not_change(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.api.views.job_data.EVENTS_PAGE", 2)
    url = f"{API}/jobs/{job.pk}/events"
    tag = api.get(url)["ETag"]
    next_epoch(job)
    assert api.get(url, headers={"If-None-Match": tag}).status_code == 304


def test_if_match_protects_a_changed_job_from_overwriting(api: APIClient, job: Job) -> None:
    url = f"{API}/jobs/{job.pk}"
    seen = {"If-Match": api.get(url)["ETag"]}
    first = api.patch(url, {"notes": "mine"}, format="json", headers=seen)
    assert first.status_code == 200
    for refused in (
        api.patch(url, {"notes": "theirs"}, format="json", headers=seen),
        api.post(f"{url}/cancel", headers=seen),
        api.delete(url, headers=seen),
    ):
        assert refused.status_code == 412
        assert refused["Content-Type"] == "application/problem+json"
        assert "Read it again" in refused.json()["detail"]
    assert Job.objects.get().notes == "mine"
    fresh = {"If-Match": f"W/{api.get(url)['ETag']}"}
    assert api.patch(url, {"notes": "both"}, format="json", headers=fresh).status_code == 200
    assert (
        api.patch(url, {"notes": "any"}, format="json", headers={"If-Match": "*"}).status_code
        == 200
    )


def test_heartbeat_is_shown_and_does_not_refuse_a_change(api: APIClient, job: Job) -> None:
    url = f"{API}/jobs/{job.pk}"
    tag = api.get(url)["ETag"]
    Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=9))
    attempts.extend_lease(attempts.Attempt(job.pk, job.attempt))
    assert api.get(url, headers={"If-None-Match": tag}).status_code == 200
    changed = api.patch(url, {"notes": "x"}, format="json", headers={"If-Match": tag})
    assert changed.status_code == 200
    again = api.patch(url, {"notes": "y"}, format="json", headers={"If-Match": tag})
    assert again.status_code == 412


def test_change_between_comparison_and_write_is_412(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{API}/jobs/{job.pk}"
    tag = api.get(url)["ETag"]
    relabel = lifecycle.update_metadata

    def later(*sent: Any, **more: Any) -> Job:
        next_epoch(job)
        return relabel(*sent, **more)

    monkeypatch.setattr(lifecycle, "update_metadata", later)
    refused = api.patch(url, {"notes": "x"}, format="json", headers={"If-Match": tag})
    assert refused.status_code == 412


def test_if_match_protects_a_changed_dataset_from_deletion(
    api: APIClient, dataset: Dataset, django_capture_on_commit_callbacks: Any
) -> None:
    url = f"{API}/datasets/{dataset.pk}"
    assert api.delete(url, headers={"If-Match": '"old"'}).status_code == 412
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(url, headers={"If-Match": api.get(url)["ETag"]}).status_code == 204
    assert not Path(dataset.path).exists()


CONTENT = bytes(range(256)) * 10


@pytest.mark.parametrize(
    ("byte_range", "status", "expected_header", "content"),
    [
        ("bytes=0-9", 206, "bytes 0-9/2560", CONTENT[:10]),
        ("bytes=2550-", 206, "bytes 2550-2559/2560", CONTENT[2550:]),
        ("bytes=-5", 206, "bytes 2555-2559/2560", CONTENT[-5:]),
        ("bytes=-9999", 206, "bytes 0-2559/2560", CONTENT),
        ("bytes=100-99999", 206, "bytes 100-2559/2560", CONTENT[100:]),
        ("bytes=5-2", 200, None, CONTENT),
        ("bytes=0-1,5-6", 200, None, CONTENT),
        ("lines=1-2", 200, None, CONTENT),
        ("bytes=-", 200, None, CONTENT),
        ("bytes=2560-", 416, "bytes */2560", None),
        ("bytes=-0", 416, "bytes */2560", None),
    ],
)
def test_range_request_of_an_artifact_returns_the_part(
    api: APIClient,
    job: Job,
    byte_range: str,
    status: int,
    expected_header: str | None,
    content: bytes | None,
) -> None:
    answer = api.get(
        f"{API}/jobs/{job.pk}/artifacts/best.safetensors", headers={"Range": byte_range}
    )
    assert answer.status_code == status
    assert answer.headers.get("Content-Range") == expected_header
    if content is None:
        assert answer["Content-Type"] == "application/problem+json"
    else:
        assert answer.getvalue() == content
        assert answer["Content-Length"] == str(len(content))
        assert answer["Accept-Ranges"] == "bytes"


def test_if_range_resumes_only_the_same_file(api: APIClient, job: Job) -> None:
    url = f"{API}/jobs/{job.pk}/artifacts/best.safetensors"
    head = api.head(url)
    assert (head["Content-Length"], head.content) == ("2560", b"")
    part = {"Range": "bytes=100-", "If-Range": head["ETag"]}
    assert api.get(url, headers=part).status_code == 206
    assert api.get(url, headers={**part, "If-Range": '"older"'}).status_code == 200
    assert api.get(url, headers={"If-None-Match": head["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fsecret_key", "../../secret_key", "%2e%2e", "passwords"]
)
def test_file_that_is_not_an_artifact_is_404(api: APIClient, job: Job, name: str) -> None:
    assert api.get(f"{API}/jobs/{job.pk}/artifacts/{name}").status_code == 404
