"""Jobs of the localizer that start from the weights of a completed one."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job, TrainedModel
from training.models.states import Status

JOBS = "/api/v1/training/jobs"
NETWORK = {"hidden": 32, "heads": 2, "layers": 1}


@pytest.fixture
def origin(ada: User, dataset: Dataset) -> Job:
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=5, **NETWORK), "First")
    path = f"jobs/{job.pk}/attempt-001/best-000004.safetensors"
    Job.objects.filter(pk=job.pk).update(status=Status.COMPLETED, checkpoint_path=path)
    TrainedModel.objects.create(job=job, checkpoint_path=path, evaluation={})
    job.refresh_from_db()
    return job


def submit(api: APIClient, dataset: Dataset, **body: Any) -> Any:
    return api.post(JOBS, {"dataset_id": str(dataset.pk), **body}, "json")


@pytest.mark.parametrize("by", ["job", "model"])
def test_job_starts_from_a_job_or_a_model(
    api: APIClient, dataset: Dataset, origin: Job, by: str
) -> None:
    identifier = origin.pk if by == "job" else origin.model.pk
    answer = submit(api, dataset, init_from=str(identifier), epochs=3)
    assert answer.status_code == 201, answer.json()
    job = Job.objects.get(pk=answer.json()["id"])
    assert job.init_from == origin.checkpoint_path
    # The network is that of the origin; everything else has its default.
    assert {name: job.config[name] for name in NETWORK} == NETWORK
    assert (job.config["epochs"], job.config["batch_size"]) == (3, TrainConfig().batch_size)


def test_request_that_contradicts_the_network_is_refused(
    api: APIClient, dataset: Dataset, origin: Job
) -> None:
    answer = submit(api, dataset, init_from=str(origin.pk), hidden=64, heads=2, layers=2)
    assert answer.status_code == 400
    assert answer.json()["errors"] == {
        "hidden": ["64 is not 32, the value of the job that it starts from; leave hidden out."],
        "layers": ["2 is not 1, the value of the job that it starts from; leave layers out."],
    }


def test_origin_must_be_completed(api: APIClient, dataset: Dataset, job: Job) -> None:
    answer = submit(api, dataset, init_from=str(job.pk))
    assert answer.json()["errors"] == {
        "init_from": [f"Job {job.pk} has no model yet; it must be completed."]
    }


def test_origin_of_another_user_does_not_exist(
    api: APIClient, dataset: Dataset, origin: Job, bob: User
) -> None:
    Job.objects.filter(pk=origin.pk).update(owner=bob)
    for identifier in (origin.pk, origin.model.pk, uuid4()):
        answer = submit(api, dataset, init_from=str(identifier))
        assert answer.status_code == 400
        assert answer.json()["errors"] == {
            "init_from": [f"Job {identifier} does not exist, or you cannot use it."]
        }


def test_generation_has_no_weights(api: APIClient, dataset: Dataset, origin: Job) -> None:
    Job.objects.filter(pk=origin.pk).update(kind=Job.Kind.GENERATION)
    answer = submit(api, dataset, init_from=str(origin.pk))
    assert answer.json()["errors"] == {"init_from": [f"Job {origin.pk} generated a dataset."]}


def test_page_of_a_completed_job_leads_to_a_form_that_starts_from_it(
    page: Client, origin: Job
) -> None:
    path = f"/jobs/new?like={origin.pk}&init_from={origin.pk}"
    assert path.replace("&", "&amp;") in page.get(f"/jobs/{origin.pk}").content.decode()
    form = page.get(path).context["form"]
    values = {field.name: field.value() for field in form if field.value() is not None}
    assert values["init_from"] == str(origin.pk)
    answer = page.post("/jobs/new", {**values, "like": origin.pk})
    assert answer.status_code == 303, answer.context["form"].errors
    started = Job.objects.exclude(pk=origin.pk).get()
    assert started.init_from == origin.checkpoint_path
    shown = page.get(f"/jobs/{started.pk}").content.decode()
    assert f'starts from <a href="/jobs/{origin.pk}">First</a>' in shown
    # A clone starts from the same weights.
    clone = page.get(f"/jobs/new?like={started.pk}").context["form"]
    assert clone["init_from"].value() == str(origin.pk)


def test_form_names_the_field_that_contradicts_the_network(page: Client, origin: Job) -> None:
    form = page.get(f"/jobs/new?like={origin.pk}&init_from={origin.pk}").context["form"]
    values = {field.name: field.value() for field in form if field.value() is not None}
    answer = page.post("/jobs/new", {**values, "hidden": "64"})
    assert answer.status_code == 400
    assert list(answer.context["form"].errors) == ["hidden"]
    assert Job.objects.count() == 1


def test_clone_of_a_fine_tuning_requires_the_origin(
    api: APIClient, ada: User, bob: User, dataset: Dataset, origin: Job
) -> None:
    started = submit(api, dataset, init_from=str(origin.pk)).json()["id"]
    clone = api.post(f"{JOBS}/{started}/clone")
    assert clone.status_code == 201, clone.json()
    assert Job.objects.get(pk=clone.json()["id"]).init_from == origin.checkpoint_path
    Job.objects.filter(pk=origin.pk).update(owner=bob)
    refused = api.post(f"{JOBS}/{started}/clone")
    assert refused.status_code == 400
    assert refused.json()["errors"] == {
        "init_from": [f"Job {origin.pk} does not exist, or you cannot use it."]
    }
