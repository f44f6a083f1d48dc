"""Access is checked again when a sweep or job continues."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from training.datasets import service as datasets
from training.jobs import lifecycle
from training.jobs.access import lost_access
from training.jobs.directories import attempt_directory
from training.localization.config import TrainConfig
from training.models import AuditEntry, Dataset, Job, Project, Sweep
from training.models.states import Status
from training.sweeps import lifecycle as sweeps
from training.sweeps import scheduler
from training.sweeps.search_space import suggest
from training.sweeps.spec import validate_spec
from training.workers.supervisor import supervise

API = "/api/v1/training"
REASON = "Dataset 'Small' is no longer shared with bob."
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)


@pytest.fixture
def team(ada: User, bob: User, dataset: Dataset) -> Group:
    """Ada shares her dataset with bob."""
    team = Group.objects.create(name="lab")
    ada.groups.add(team)
    bob.groups.add(team)
    datasets.share_dataset(dataset, team)
    return team


@pytest.fixture
def sweep(team: Group, bob: User, dataset: Dataset) -> Sweep:
    plan = validate_spec(
        {"name": "Rates", "dataset_id": str(dataset.pk), "method": "grid", "max_parallel": 1,
         "space": {"learning_rate": {"values": [0.1, 0.01, 0.001]}}}
    )  # fmt: skip
    made = sweeps.create(bob, dataset, plan)
    scheduler.advance_sweep(made.pk)
    return made


def withdraw(dataset: Dataset) -> None:
    datasets.share_dataset(dataset, None)


def end_trial(sweep: Sweep) -> None:
    lifecycle.request_cancel(Job.objects.get(sweep=sweep, trial=1), "bob")


def test_sweep_starts_no_trial_on_a_dataset_that_is_no_longer_shared(
    sweep: Sweep, dataset: Dataset
) -> None:
    withdraw(dataset)
    end_trial(sweep)
    scheduler.advance_sweep(sweep.pk)
    found = Sweep.objects.get()
    assert (found.status, found.started_trials) == ("failed", 1)
    assert found.error_message == f"Trial 2 cannot start: {REASON}"


def test_sweep_continues_while_the_dataset_is_shared(sweep: Sweep) -> None:
    end_trial(sweep)
    scheduler.advance_sweep(sweep.pk)
    assert Sweep.objects.get().started_trials == 2


def test_sweep_of_a_deactivated_user_starts_no_trial(sweep: Sweep, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    end_trial(sweep)
    scheduler.advance_sweep(sweep.pk)
    assert "The account of bob is deactivated." in Sweep.objects.get().error_message


def test_paused_sweep_and_job_are_not_resumed(sweep: Sweep, bob: User, dataset: Dataset) -> None:
    job = lifecycle.submit(bob, dataset, TrainConfig())
    lifecycle.request_pause(job, "bob")
    sweeps.pause(sweep, "bob")
    withdraw(dataset)
    api = APIClient()
    api.force_authenticate(bob)
    for path, kind in ((f"jobs/{job.pk}", "job"), (f"sweeps/{sweep.pk}", "sweep")):
        answer = api.post(f"{API}/{path}/resume")
        assert answer.status_code == 409
        assert answer.json()["detail"] == f"Cannot resume this {kind}: {REASON}"
    assert Job.objects.get(pk=job.pk).status == Status.PAUSED


def test_waiting_job_fails_when_a_worker_claims_it(
    team: Group, bob: User, dataset: Dataset
) -> None:
    job = lifecycle.submit(bob, dataset, TrainConfig())
    withdraw(dataset)
    assert supervise(job.pk, "worker")
    found = Job.objects.get(pk=job.pk)
    assert (found.status, found.error_message) == (Status.FAILED, REASON)


def test_owner_sees_which_jobs_of_others_use_the_dataset(team: Group, ada: User, bob: User) -> None:
    dataset = Dataset.objects.get()
    job = lifecycle.submit(bob, dataset, TrainConfig(), "Theirs")
    withdraw(dataset)
    api = APIClient()
    api.force_authenticate(ada)
    answer = api.delete(f"{API}/datasets/{dataset.pk}")
    assert answer.status_code == 409
    assert f"is used by job 'Theirs' of bob ({job.pk})" in answer.json()["detail"]


def test_sweeps_are_audited(sweep: Sweep) -> None:
    for action in (sweeps.pause, sweeps.resume, sweeps.cancel):
        action(sweep, "bob")
    sweeps.delete(Sweep.objects.get(), with_jobs=True)
    target = f"sweep {sweep.pk} Rates"
    trail = AuditEntry.objects.filter(target=target).order_by("pk")
    assert list(trail.values_list("action", flat=True)) == [
        "sweep created", "sweep paused", "sweep resumed", "sweep cancelled", "delete",
    ]  # fmt: skip


def test_job_does_not_start_from_weights_that_are_no_longer_shared(
    team: Group, ada: User, bob: User, dataset: Dataset
) -> None:
    source = lifecycle.submit(ada, dataset, TrainConfig(), "Source", team=team)
    path = str(attempt_directory(source.pk, 1) / "epoch-000001.safetensors")
    started = lifecycle.submit(bob, dataset, TrainConfig(), init_from=path)
    assert lost_access(started) == ""
    lifecycle.update_metadata(source, team=None)
    assert supervise(started.pk, "worker")
    found = Job.objects.get(pk=started.pk)
    assert found.status == Status.FAILED
    assert found.error_message == (
        "Job 'Source', whose checkpoint it starts from, is not shared with bob."
    )


def test_trials_leave_a_project_that_is_no_longer_shared(
    team: Group, ada: User, sweep: Sweep
) -> None:
    project = Project.objects.create(owner=ada, name="Lab", team=team)
    Sweep.objects.update(project=project)
    end_trial(sweep)
    scheduler.advance_sweep(sweep.pk)
    assert Job.objects.get(trial=2).project == project
    Project.objects.update(team=None)
    lifecycle.request_cancel(Job.objects.get(trial=2), "bob")
    scheduler.advance_sweep(sweep.pk)
    assert Job.objects.get(trial=3).project is None


def test_trial_sampled_while_its_sweep_was_unshared_is_not_shared(
    team: Group, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.share(sweep, team)
    end_trial(sweep)

    def sample(*arguments: Any) -> Any:
        sweeps.share(Sweep.objects.get(), None)
        return suggest(*arguments)

    monkeypatch.setattr(scheduler, "suggest", sample)
    scheduler.advance_sweep(sweep.pk)
    assert Job.objects.get(trial=2).team is None


def test_trials_are_not_shared_with_a_team_that_the_owner_has_left(
    team: Group, bob: User, ada: User, sweep: Sweep, dataset: Dataset
) -> None:
    sweeps.share(sweep, team)
    datasets.share_dataset(dataset, other := Group.objects.create(name="other"))
    bob.groups.set([other])
    end_trial(sweep)
    scheduler.advance_sweep(sweep.pk)
    assert Job.objects.get(trial=2).team is None
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    lifecycle.request_cancel(Job.objects.get(trial=2), "bob")
    scheduler.advance_sweep(sweep.pk)
    assert Job.objects.get(trial=3).team == team


def test_clone_uses_no_team_and_project_that_are_no_longer_shared(
    team: Group, ada: User, bob: User, dataset: Dataset
) -> None:
    project = Project.objects.create(owner=ada, name="Lab", team=team)
    job = lifecycle.submit(bob, dataset, TrainConfig(), team=team, project=project)
    api = APIClient()
    api.force_authenticate(bob)
    shared = api.post(f"{API}/jobs/{job.pk}/clone").json()
    assert (shared["team"], shared["project"]) == ("lab", "Lab")
    datasets.share_dataset(dataset, other := Group.objects.create(name="other"))
    bob.groups.set([other])
    clone = api.post(f"{API}/jobs/{job.pk}/clone").json()
    assert (clone["team"], clone["project"]) == (None, "Default")
