from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job

DATASETS = "/api/v1/training/datasets"
TABLES = {
    "receivers.csv": "receiver_id,lat,lon,alt_m\nhill,45.0,7.5,300\ntown,45.1,7.6,200\n",
    "samples.csv": "sample_id,lat,lon,split\n"
    "a,45.02,7.52,train\nb,45.03,7.55,val\nc,45.05,7.58,test\n",
    "measurements.csv": "sample_id,receiver_id,rssi_dbm\na,hill,-80\nb,town,-90\nc,hill,-85\n",
}


def test_unknown_field_of_an_import_is_refused(api: APIClient) -> None:
    """A misspelled option changed nothing, without a word."""
    body = {"name": "x", "file": io.BytesIO(b"not"), "splitby": "place"}
    answer = api.post(f"{DATASETS}/import", body, format="multipart")
    assert answer.status_code == 400
    known = "name, file, split_by, split_column, split_seed, mapping"
    sentence = f"Unknown field; the fields of an import are {known}."
    assert answer.json()["errors"] == {"splitby": [sentence]}


def upload(api: APIClient, tables: dict[str, str], name: str = "Measured") -> Any:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as pack:
        for table, text in tables.items():
            pack.writestr(table, text)
    packed.seek(0)
    packed.name = "measured.zip"
    return api.post(f"{DATASETS}/import", {"name": name, "file": packed}, format="multipart")


def stored_files() -> set[Path]:
    return set((Path(settings.DATA_DIR) / "datasets").glob("*"))


def test_zip_is_imported(api: APIClient) -> None:
    answer = upload(api, TABLES)
    assert answer.status_code == 201
    facts = answer.json()
    assert (facts["samples"], facts["status"], facts["kind"]) == (3, "ready", "measured")
    assert facts["split"] == {"train": 1, "val": 1, "test": 1}
    assert [receiver["id"] for receiver in facts["receivers"]] == ["hill", "town"]
    assert len(facts["content_hash"]) == 64


def test_invalid_row_is_reported_and_nothing_is_stored(api: APIClient) -> None:
    before = stored_files()
    bad = {**TABLES, "measurements.csv": TABLES["measurements.csv"].replace("-90", "loud")}
    answer = upload(api, bad)
    assert answer.status_code == 400
    problem = answer.json()
    assert (problem["file"], problem["line"]) == ("measurements.csv", 3)
    assert problem["reason"] == "rssi_dbm 'loud' is not a number"
    assert problem["detail"] == "measurements.csv line 3: rssi_dbm 'loud' is not a number."
    assert not Dataset.objects.exists()
    assert stored_files() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [({"name": "x"}, "file"), ({"file": io.BytesIO(b"x")}, "name")],
    ids=["no file", "no name"],
)
def test_missing_upload_field_is_reported(api: APIClient, body: dict[str, Any], field: str) -> None:
    answer = api.post(f"{DATASETS}/import", body, format="multipart")
    assert answer.status_code == 400
    assert field in answer.json()["errors"]


def test_upload_that_is_not_a_zip_is_refused(api: APIClient) -> None:
    answer = api.post(
        f"{DATASETS}/import", {"name": "x", "file": io.BytesIO(b"not")}, format="multipart"
    )
    assert answer.status_code == 400
    assert "This is not a valid zip file" in answer.json()["detail"]


def test_generation_is_a_job_with_its_dataset_id(api: APIClient) -> None:
    answer = api.post(
        f"{DATASETS}/generate", {"name": "Made", "samples": 100, "seed": 4}, format="json"
    )
    assert answer.status_code == 202
    job = answer.json()
    assert (job["kind"], job["status"]) == ("generation", "queued")
    made = api.get(f"{DATASETS}/{job['dataset_id']}").json()
    assert (made["name"], made["status"]) == ("Made", "generating")


def test_invalid_generation_option_is_reported(api: APIClient) -> None:
    answer = api.post(
        f"{DATASETS}/generate", {"name": "x", "samples": 5, "shadow": 3}, format="json"
    )
    assert answer.json()["errors"] == {
        "samples": ["5 is too small; it must be at least 20."],
        "shadow": ["Unknown field; did you mean 'shadowing_db'?"],
    }


def test_dataset_of_another_user_is_404(api: APIClient, dataset: Dataset, bob: User) -> None:
    assert len(api.get(DATASETS).json()["results"]) == 1
    api.force_authenticate(bob)
    assert api.get(DATASETS).json()["results"] == []
    assert api.get(f"{DATASETS}/{dataset.pk}").status_code == 404


def test_dataset_and_file_are_deleted_unless_a_job_uses_it(
    api: APIClient, ada: User, dataset: Dataset, django_capture_on_commit_callbacks: Any
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(), "First")
    refused = api.delete(f"{DATASETS}/{dataset.pk}")
    assert refused.status_code == 409
    holder = f"job 'First' of ada ({job.pk})"
    assert f"'Small' is used by {holder}; delete those first." in refused.json()["detail"]
    Job.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"{DATASETS}/{dataset.pk}").status_code == 204
    assert not Path(dataset.path).exists()
