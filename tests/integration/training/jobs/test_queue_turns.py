"""The queue: priority first, which only staff can raise, then owners in turn."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from tests.jobs import claim_job, reload
from training.jobs import lifecycle, queue
from training.jobs.policy import QueuePolicy
from training.localization.config import TrainConfig
from training.models import Dataset, Job
from training.models.states import Status
from training.sweeps import lifecycle as sweeps
from training.sweeps import scheduler
from training.sweeps.spec import validate_spec
from training.validation import InvalidInputError

JOBS = "/api/v1/training/jobs"


def submit(owner: User, dataset: Dataset, priority: int = 0) -> Job:
    policy = QueuePolicy(priority=priority)
    return lifecycle.submit(owner, dataset, TrainConfig(), policy=policy)


def claim_next() -> Job:
    job = Job.objects.get(pk=queue.next_job(["cpu"]) or pytest.fail("nothing is queued"))
    claim_job(job)
    return job


def test_many_jobs_of_one_user_do_not_hold_up_those_of_others(
    ada: User, bob: User, staff: User, dataset: Dataset
) -> None:
    for _ in range(5):
        submit(ada, dataset)
    for owner in (bob, bob, staff):
        submit(owner, dataset)
    claimed = []
    for _ in range(8):  # one slot: each job ends before the next is claimed
        job = claim_next()
        claimed.append(job.owner.username)
        Job.objects.filter(pk=job.pk).update(status=Status.COMPLETED)
    assert claimed == ["ada", "bob", "grace", "ada", "bob", "ada", "ada", "ada"]


def test_owner_with_the_fewest_running_jobs_comes_first(
    ada: User, bob: User, dataset: Dataset
) -> None:
    for owner in (ada, ada, ada, bob, bob, bob):
        submit(owner, dataset)
    assert [claim_next().owner.username for _ in range(4)] == ["ada", "bob", "ada", "bob"]
    Job.objects.filter(owner=ada, status=Status.RUNNING).update(status=Status.COMPLETED)
    assert [claim_next().owner.username for _ in range(2)] == ["ada", "bob"]


def test_priority_takes_precedence_over_turns(
    ada: User, bob: User, staff: User, dataset: Dataset
) -> None:
    submit(ada, dataset, priority=-1)
    urgent = [submit(staff, dataset, priority=1) for _ in range(3)]
    submit(bob, dataset)
    assert [claim_next() for _ in range(3)] == urgent
    assert [claim_next().owner.username for _ in range(2)] == ["bob", "ada"]


def test_jobs_of_one_owner_keep_their_order(ada: User, dataset: Dataset) -> None:
    jobs = [submit(ada, dataset) for _ in range(4)]
    assert [claim_next() for _ in range(4)] == jobs


def test_priority_above_0_is_rejected_for_users_by_every_endpoint_and_form(
    api: APIClient, page: Client, ada: User, dataset: Dataset, job: Job
) -> None:
    sentence = "Only staff can use a priority above 0, such as 3; use 0 or less."
    answer = api.post(JOBS, {"dataset_id": str(dataset.pk), "priority": 3}, "json")
    assert (answer.status_code, answer.json()["errors"]) == (400, {"priority": [sentence]})
    answer = api.patch(f"{JOBS}/{job.pk}", {"priority": 3}, "json")
    assert (answer.status_code, answer.json()["errors"]) == (400, {"priority": [sentence]})
    body = {"name": "S", "dataset_id": str(dataset.pk), "config": {"priority": 3},
            "space": {"seed": {"values": [1]}}, "method": "grid"}  # fmt: skip
    answer = api.post("/api/v1/training/sweeps", body, "json")
    assert (answer.status_code, answer.json()["errors"]) == (400, {"config.priority": [sentence]})
    form = page.get("/jobs/new").content.decode()
    assert 'name="priority" value="0"' in form and "Only staff can use a priority above 0." in form
    for path in (f"/jobs/{job.pk}/edit", "/jobs/new"):
        text = page.post(path, {"priority": 3, "name": "", "tags": ""}).content.decode()
        assert "Only staff can use a priority above 0; use 0 or less." in text, path
    with pytest.raises(InvalidInputError):
        submit(ada, dataset, priority=3)
    assert Job.objects.filter(priority__gt=0).count() == 0


def test_clone_by_a_user_does_not_inherit_a_staff_priority(
    api: APIClient, page: Client, staff: User, job: Job
) -> None:
    lifecycle.set_priority(job, 7, staff)
    clone = api.post(f"{JOBS}/{job.pk}/clone").json()
    assert clone["priority"] == 0
    assert 'name="priority" value="0"' in page.get(f"/jobs/new?like={job.pk}").content.decode()


def test_trials_of_a_former_staff_member_lose_their_priority(staff: User, dataset: Dataset) -> None:
    Dataset.objects.update(owner=staff)
    spec = validate_spec(
        {"name": "S", "dataset_id": str(dataset.pk), "config": {"priority": 3},
         "space": {"seed": {"values": [1, 2]}}, "method": "grid", "max_parallel": 1}
    )  # fmt: skip
    sweep = sweeps.create(staff, dataset, spec)
    scheduler.advance_sweep(sweep.pk)
    User.objects.filter(pk=staff.pk).update(is_staff=False)
    sweep.jobs.update(status=Status.COMPLETED)
    scheduler.advance_sweep(sweep.pk)
    assert list(sweep.jobs.order_by("trial").values_list("priority", flat=True)) == [3, 0]


def test_priority_of_a_waiting_job_is_changed_and_noted(
    api: APIClient, page: Client, job: Job, dataset: Dataset
) -> None:
    other = submit(job.owner, dataset)
    answer = api.patch(f"{JOBS}/{job.pk}", {"priority": -5, "name": "Later"}, "json")
    assert (answer.json()["priority"], answer.json()["name"]) == (-5, "Later")
    assert queue.next_job(["cpu"]) == other.pk
    assert page.post(f"/jobs/{other.pk}/edit", {"priority": -6, "tags": ""}).status_code == 303
    assert queue.next_job(["cpu"]) == job.pk
    text = page.get(f"/jobs/{job.pk}").content.decode()
    assert "Priority changed from 0 to -5." in text
    lifecycle.request_pause(job, "ada")
    assert api.patch(f"{JOBS}/{job.pk}", {"priority": 0}, "json").status_code == 200


def test_priority_of_a_running_job_cannot_be_changed(
    api: APIClient, page: Client, job: Job, running_attempt: Any
) -> None:
    answer = api.patch(f"{JOBS}/{job.pk}", {"priority": -5, "name": "Later"}, "json")
    detail = "Cannot change the priority of this job: it is running."
    assert (answer.status_code, answer.json()["detail"]) == (409, detail)
    assert (reload(job).priority, reload(job).name) == (0, "First")
    assert 'name="priority"' not in page.get(f"/jobs/{job.pk}/edit").content.decode()
