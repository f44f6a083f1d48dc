"""Two create requests with one idempotency key create one object."""

from __future__ import annotations

import io
import sys
import threading
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from training.accounts import idempotency
from training.jobs import lifecycle
from training.models import Dataset, IdempotencyKey, Job

API = "/api/v1/training"


def post(api: APIClient, dataset: Dataset, key: str | None = '"one"', **more: Any) -> Any:
    body = {"dataset_id": str(dataset.pk), "epochs": 3, **more}
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post(f"{API}/jobs", body, format="json", headers=headers)


def test_same_key_and_body_replays_the_first_response(api: APIClient, dataset: Dataset) -> None:
    first = post(api, dataset)
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first
    lifecycle.request_cancel(Job.objects.get(), "ada")
    again = post(api, dataset, key="one")  # the draft's quotes are optional
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotency-Replayed"] == "true"
    assert Job.objects.count() == 1


def test_same_key_with_another_body_is_rejected(api: APIClient, dataset: Dataset) -> None:
    post(api, dataset)
    for refused in (
        post(api, dataset, epochs=4),
        api.post(f"{API}/jobs/{Job.objects.get().pk}/clone", headers={"Idempotency-Key": "one"}),
    ):
        assert refused.status_code == 422
        assert refused["Content-Type"] == "application/problem+json"
        assert "was used for another request" in refused.json()["detail"]
    assert Job.objects.count() == 1


def test_key_in_progress_is_409(
    api: APIClient, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[Any] = []

    def meanwhile(*sent: Any, **more: Any) -> Job:
        met.append(post(api, dataset))
        return submit(*sent, **more)

    submit = lifecycle.submit
    monkeypatch.setattr(lifecycle, "submit", meanwhile)
    assert post(api, dataset).status_code == 201
    assert met[0].status_code == 409
    assert met[0]["Retry-After"] == "2"
    assert Job.objects.count() == 1


def test_refused_creation_releases_its_key(api: APIClient, dataset: Dataset) -> None:
    assert post(api, dataset, epochs=0).status_code == 400
    assert post(api, dataset, epochs=1).status_code == 201


def test_idempotency_keys_are_per_user(api: APIClient, dataset: Dataset, staff: User) -> None:
    own = post(api, dataset)
    api.force_authenticate(staff)
    theirs = post(api, dataset)
    assert theirs.status_code == 201
    assert theirs.json()["id"] != own.json()["id"]


def test_key_expires_after_a_day(api: APIClient, dataset: Dataset) -> None:
    post(api, dataset)
    old = timezone.now() - timedelta(hours=25)
    IdempotencyKey.objects.update(created_at=old)
    post(api, dataset, key="another")
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["another"]
    assert post(api, dataset).status_code == 201
    assert Job.objects.count() == 3


def test_claim_of_a_killed_process_is_taken_over_and_fenced(ada: User, dataset: Dataset) -> None:
    slow = idempotency.acquire(ada, "one", "digest")
    IdempotencyKey.objects.update(claimed_at=timezone.now() - timedelta(minutes=6))
    other = idempotency.acquire(ada, "one", "digest")
    assert other.status is None
    with pytest.raises(idempotency.InProgressError):
        idempotency.complete(slow, 201, "{}")
    idempotency.complete(other, 201, "{}")
    assert idempotency.acquire(ada, "one", "digest").status == 201


def test_key_held_by_a_killed_process_is_free_after_half_a_minute(
    api: APIClient, ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(idempotency, "release", lambda _: None)
        killed.setattr(lifecycle, "submit", lambda *_, **__: sys.exit())
        with pytest.raises(SystemExit):
            post(api, dataset)
    assert post(api, dataset).status_code == 409
    IdempotencyKey.objects.update(claimed_at=timezone.now() - timedelta(seconds=31))
    assert post(api, dataset).status_code == 201
    assert Job.objects.count() == 1


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "ключ"])
def test_invalid_key_is_an_error(api: APIClient, dataset: Dataset, key: str) -> None:
    refused = post(api, dataset, key=key)
    assert refused.status_code == 400
    assert "Idempotency-Key" in refused.json()["errors"]


def pack(text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("receivers.csv", "receiver_id,lat,lon,alt_m\na,45,7,1\nb,45.1,7,1\n")
        archive.writestr("samples.csv", "sample_id,lat,lon\n" + text)
        rows = "".join(f"{n},a,-80\n{n},b,-90\n" for n in range(40))
        archive.writestr("measurements.csv", "sample_id,receiver_id,rssi_dbm\n" + rows)
    return packed.getvalue()


def upload(api: APIClient, packed: bytes) -> Any:
    file = SimpleUploadedFile("folder.zip", packed)
    body = {"name": "Measured", "file": file}
    return api.post(f"{API}/datasets/import", body, headers={"Idempotency-Key": "one"})


def test_upload_digest_covers_the_file_content(api: APIClient) -> None:
    rows = "".join(f"{n},{45 + n / 100},{7 + n % 7 / 50}\n" for n in range(40))
    packed = pack(rows)  # once: a zip holds the time at which it was packed
    first = upload(api, packed)
    assert first.status_code == 201, first.content
    assert upload(api, packed).content == first.content
    assert upload(api, pack(rows.replace("45.01", "45.02"))).status_code == 422
    assert Dataset.objects.count() == 1


def test_every_creation_accepts_idempotency_keys(api: APIClient, dataset: Dataset) -> None:
    headers = {"Idempotency-Key": "made"}
    wanted = {"name": "Made", "samples": 200, "seed": 1}
    made = [
        api.post(f"{API}/datasets/generate", wanted, format="json", headers=headers)
        for _ in range(2)
    ]
    assert made[0].status_code == 202
    assert made[0].content == made[1].content
    job = post(api, dataset).json()["id"]
    headers = {"Idempotency-Key": "cloned"}
    twins = [api.post(f"{API}/jobs/{job}/clone", headers=headers).json() for _ in range(2)]
    assert twins[0]["id"] == twins[1]["id"] != job


@pytest.mark.django_db(transaction=True)
def test_ten_concurrent_requests_with_one_key_create_one_job(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)
    codes: list[int] = []
    together = threading.Barrier(10)

    def ask() -> None:
        client = APIClient()
        client.force_authenticate(ada)
        together.wait()
        codes.append(post(client, dataset).status_code)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Job.objects.count() == 1
    assert set(codes) <= {201, 409} and 201 in codes
