from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from rest_framework.test import APIClient

from training.jobs import attempts, directories, lifecycle, results
from training.jobs.attempts import Attempt
from training.localization.config import GenerateConfig
from training.models import Dataset, Job
from training.models.states import Status

JOBS = "/api/v1/training/jobs"


def post(api: APIClient, path: str = JOBS, **body: Any) -> Any:
    return api.post(path, body, format="json")


def test_job_starts_with_the_four_contract_fields(api: APIClient, dataset: Dataset) -> None:
    answer = post(api, dataset_id=str(dataset.pk), epochs=5, batch_size=32, learning_rate=0.001)
    assert answer.status_code == 201
    job = answer.json()
    assert (job["status"], job["seq"], job["total_epochs"]) == ("queued", 1, 5)
    assert job["config"]["batch_size"] == 32
    assert job["dataset_id"] == str(dataset.pk)
    assert Job.objects.get(pk=job["id"]).owner.username == "ada"


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"epochs": 0}, "epochs", "0 is too small; it must be at least 1."),
        ({"epochs": "ten"}, "epochs", "'ten' is not a whole number."),
        ({"epoch": 5}, "epoch", "Unknown field; did you mean 'epochs'?"),
        ({"dataset_id": "7"}, "dataset_id", "'7' is not a UUID."),
        ({"tags": "x"}, "tags", "This must be a list."),
    ],
)
def test_invalid_field_is_reported_and_nothing_is_created(
    api: APIClient, dataset: Dataset, body: dict[str, Any], field: str, sentence: str
) -> None:
    answer = post(api, **{"dataset_id": str(dataset.pk), **body})
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"] == {field: [sentence]}
    assert not Job.objects.exists()


def test_job_has_its_program_objective_and_processes(api: APIClient, job: Job) -> None:
    Job.objects.update(processes=2, best_value=0.5, best_epoch=1)
    found = api.get(f"{JOBS}/{job.pk}").json()
    assert (found["program"], found["processes"]) == ("localizer", 2)
    assert found["objective"] == {"metric": "val_loss", "direction": "minimize"}
    assert (found["best_value"], found["best_val_loss"]) == (0.5, 0.5)


def test_dataset_is_required(api: APIClient) -> None:
    assert post(api, epochs=1).json()["errors"] == {"dataset_id": ["This field is required."]}


def test_dataset_of_another_user_is_reported_as_unknown(
    api: APIClient, bob: User, dataset: Dataset
) -> None:
    Dataset.objects.update(owner=bob)
    for pk in (str(dataset.pk), str(uuid4())):
        answer = post(api, dataset_id=pk)
        assert answer.status_code == 400
        assert answer.json()["errors"] == {
            "dataset_id": [f"Dataset {pk} does not exist, or you cannot use it."]
        }


def test_dataset_in_generation_is_refused(api: APIClient, dataset: Dataset) -> None:
    Dataset.objects.update(status="generating")
    answer = post(api, dataset_id=str(dataset.pk))
    assert answer.json()["errors"]["dataset_id"] == ["Dataset 'Small' is not ready: generating."]


def test_body_that_is_not_an_object_is_refused(api: APIClient) -> None:
    assert api.post(JOBS, [1], format="json").status_code == 400
    assert api.post(JOBS, "{", content_type="application/json").status_code == 400


def test_job_of_another_user_is_404(api: APIClient, job: Job, bob: User) -> None:
    api.force_authenticate(bob)
    for path in ("", "/pause", "/cancel", "/resume", "/epochs", "/events", "/evaluation"):
        method = api.post if path in {"/pause", "/cancel", "/resume"} else api.get
        assert method(f"{JOBS}/{job.pk}{path}").status_code == 404, path
    assert api.get(JOBS).json()["results"] == []


def test_staff_can_view_and_control_all_jobs(api: APIClient, job: Job, staff: User) -> None:
    api.force_authenticate(staff)
    assert api.post(f"{JOBS}/{job.pk}/cancel").status_code == 202


def test_actions_change_the_status_and_conflict_once_cancelled(api: APIClient, job: Job) -> None:
    steps = [("pause", 202, "paused"), ("resume", 202, "queued"), ("cancel", 202, "cancelled")]
    for action, code, status in steps:
        answer = api.post(f"{JOBS}/{job.pk}/{action}")
        assert (answer.status_code, answer.json()["status"]) == (code, status)
    for action in ("pause", "resume", "cancel"):
        answer = api.post(f"{JOBS}/{job.pk}/{action}")
        assert answer.status_code == 409
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"] == f"Cannot {action} this job: it is cancelled."


def test_active_job_cannot_be_deleted(api: APIClient, job: Job) -> None:
    assert api.delete(f"{JOBS}/{job.pk}").status_code == 409
    api.post(f"{JOBS}/{job.pk}/cancel")
    assert api.delete(f"{JOBS}/{job.pk}").status_code == 204
    assert api.get(f"{JOBS}/{job.pk}").status_code == 404


def test_metadata_can_be_patched_and_parameters_cannot(api: APIClient, job: Job) -> None:
    changed = api.patch(f"{JOBS}/{job.pk}", {"notes": "good", "tags": ["a"]}, format="json")
    assert (changed.json()["notes"], changed.json()["name"]) == ("good", "First")
    refused = api.patch(f"{JOBS}/{job.pk}", {"status": "completed"}, format="json")
    assert refused.json()["errors"] == {"status": ["Unknown field."]}


def test_clone_has_the_same_configuration(api: APIClient, job: Job) -> None:
    clone = api.post(f"{JOBS}/{job.pk}/clone")
    assert clone.status_code == 201
    assert clone.json()["config"] == job.config
    assert clone.json()["parent_id"] == str(job.pk)
    assert clone.json()["id"] != str(job.pk)


@pytest.mark.parametrize(
    ("config", "field"), [({"hidden": 10**9}, "hidden"), ({"retired": 1}, "retired")]
)
def test_clone_error_for_an_obsolete_configuration_names_the_field(
    api: APIClient, job: Job, config: dict[str, int], field: str
) -> None:
    """A job of an earlier version may have other bounds and fields."""
    Job.objects.filter(pk=job.pk).update(config={**job.config, **config})
    answer = api.post(f"{JOBS}/{job.pk}/clone")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert Job.objects.count() == 1


def test_generation_cannot_be_cloned(api: APIClient, ada: User) -> None:
    generation = lifecycle.submit_generation(ada, "Made", GenerateConfig(samples=50))
    answer = api.post(f"{JOBS}/{generation.pk}/clone")
    assert answer.status_code == 409
    assert "Only a training that Heimdall runs can be cloned" in answer.json()["detail"]


def test_jobs_are_filtered_searched_and_ordered(api: APIClient, job: Job, dataset: Dataset) -> None:
    other = post(api, dataset_id=str(dataset.pk), name="Second").json()["id"]
    api.post(f"{JOBS}/{other}/cancel")

    def names(query: str) -> list[str]:
        return [row["name"] for row in api.get(f"{JOBS}?{query}").json()["results"]]

    assert names("") == ["Second", "First"]
    assert names("status=queued") == ["First"]
    assert names("status=queued&status=cancelled&ordering=created_at") == ["First", "Second"]
    assert names("search=sec") == ["Second"]
    assert names(f"dataset_id={uuid4()}") == []
    assert names("owner=ada&page_size=1") == ["Second"]
    assert api.get(f"{JOBS}?status=nonsense").status_code == 400


def test_epochs_and_events_come_in_pages(
    api: APIClient, job: Job, running_attempt: Attempt
) -> None:
    for epoch in range(1, 6):
        metrics = {"val_loss": 1.0 / epoch, "val_rmse": float("5")}
        attempts.record_epochs(
            running_attempt, attempts.EpochReport(epoch, metrics, 0.1, epoch == 1, "/c")
        )
    first = api.get(f"{JOBS}/{job.pk}/epochs?page_size=3").json()
    assert [row["epoch"] for row in first["results"]] == [1, 2, 3]
    assert set(first["results"][0]) == {"epoch", "metrics", "is_best", "seconds", "at"}
    second = api.get(first["next"]).json()
    assert [row["epoch"] for row in second["results"]] == [4, 5]
    events = api.get(f"{JOBS}/{job.pk}/events?after=2").json()
    assert [row["seq"] for row in events["results"]] == list(range(3, 9))
    assert events["next"] is None
    assert events["results"][0]["data"]["job_id"] == str(job.pk)
    assert api.get(f"{JOBS}/{job.pk}/events?after=x").status_code == 400


def test_event_pages_link_to_the_next(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.api.views.job_data.EVENTS_PAGE", 2)
    lifecycle.request_pause(job, "ada")
    lifecycle.resume(job, "ada")
    url, seqs = f"{JOBS}/{job.pk}/events", []
    while url:
        page = api.get(url).json()
        seqs += [row["seq"] for row in page["results"]]
        url = page["next"]
    assert seqs == [1, 2, 3, 4]


def test_only_a_completed_training_has_an_evaluation(
    api: APIClient, job: Job, running_attempt: Attempt
) -> None:
    missing = api.get(f"{JOBS}/{job.pk}/evaluation")
    assert missing.status_code == 404
    assert "only a completed training job has one" in missing.json()["detail"]
    results.complete_training(running_attempt, "/c/best.safetensors", {"test": {"rmse_m": 5.0}})
    assert api.get(f"{JOBS}/{job.pk}/evaluation").json() == {"test": {"rmse_m": 5.0}}
    done = api.get(f"{JOBS}/{job.pk}").json()
    assert (done["status"], done["progress_percent"]) == (Status.COMPLETED, 100)


def test_deleting_a_job_deletes_its_files(
    api: APIClient, job: Job, django_capture_on_commit_callbacks: Any
) -> None:
    folder = directories.attempt_directory(job.pk, 1)
    folder.mkdir(parents=True)
    assert api.delete(f"{JOBS}/{job.pk}").status_code == 409
    assert folder.exists()
    lifecycle.request_cancel(job, "ada")
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"{JOBS}/{job.pk}").status_code == 204
    assert not directories.job_directory(job.pk).exists()


def test_unavailable_database_is_503_with_retry_after(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(lifecycle, "request_cancel", away)
    answer = api.post(f"{JOBS}/{job.pk}/cancel")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "2"
    assert "Nothing was changed; try again." in answer.json()["detail"]
