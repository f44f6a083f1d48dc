"""Access of teams, expired tokens, and the audit log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from rest_framework.test import APIClient

from realtime.connections import Viewer
from training.accounts import tokens
from training.events.store import DatabaseEventStore
from training.jobs import lifecycle
from training.jobs.attempts import claim
from training.jobs.policy import QueuePolicy
from training.jobs.queue import next_job
from training.localization.config import GenerateConfig, TrainConfig
from training.models import ApiToken, AuditEntry, Dataset, Job, Project
from training.workers import registry as workers

JOBS, SWEEPS = "/api/v1/training/jobs", "/api/v1/training/sweeps"


@pytest.fixture
def theirs(bob: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(bob)
    return client


def test_team_member_can_view_and_control_but_not_delete(
    api: APIClient, theirs: APIClient, ada: User, bob: User, job: Job
) -> None:
    assert theirs.get(f"{JOBS}/{job.pk}").status_code == 404
    assert not DatabaseEventStore().can_view(Viewer(bob.pk), job.pk)
    lab = Group.objects.create(name="lab")
    lab.user_set.add(ada, bob)
    shared = api.patch(f"{JOBS}/{job.pk}", {"team": "lab"}, format="json")
    assert (shared.status_code, shared.json()["team"]) == (200, "lab")
    assert theirs.get(f"{JOBS}/{job.pk}").status_code == 200
    assert DatabaseEventStore().can_view(Viewer(bob.pk), job.pk)
    assert theirs.post(f"{JOBS}/{job.pk}/pause").status_code == 202
    assert theirs.delete(f"{JOBS}/{job.pk}").status_code == 403
    assert theirs.patch(f"{JOBS}/{job.pk}", {"team": None}, format="json").status_code == 403
    api.patch(f"{JOBS}/{job.pk}", {"team": None}, format="json")
    assert theirs.get(f"{JOBS}/{job.pk}").status_code == 404
    assert AuditEntry.objects.filter(action="share").count() == 2


def test_team_member_controls_a_shared_sweep_but_does_not_delete_it(
    api: APIClient, theirs: APIClient, ada: User, bob: User, dataset: Dataset
) -> None:
    lab = Group.objects.create(name="lab")
    lab.user_set.add(ada, bob)
    body = {
        "name": "Rates", "dataset_id": str(dataset.pk), "max_parallel": 1, "team": "lab",
        "space": {"learning_rate": {"values": [0.001, 0.01]}}, "method": "grid",
    }  # fmt: skip
    made = api.post(SWEEPS, body, format="json")
    assert (made.status_code, made.json()["team"]) == (201, "lab")
    url = f"{SWEEPS}/{made.json()['id']}"
    assert [found["id"] for found in theirs.get(SWEEPS).json()["results"]] == [made.json()["id"]]
    first = f"{JOBS}/{made.json()['trials'][0]['job_id']}"
    assert theirs.get(first).json()["team"] == "lab"
    assert theirs.post(f"{url}/pause").status_code == 202
    assert theirs.delete(url).status_code == 403
    assert theirs.patch(url, {"team": None}, format="json").status_code == 403
    assert theirs.patch(url, {"max_parallel": 2}, format="json").json()["max_parallel"] == 2
    assert theirs.post(f"{url}/resume").status_code == 202
    # Trials that start later are shared too.
    assert {job.team for job in Job.objects.filter(sweep_id=made.json()["id"])} == {lab}
    assert api.patch(url, {"team": None}, format="json").json()["team"] is None
    assert theirs.get(url).status_code == theirs.get(first).status_code == 404
    refused = api.post(SWEEPS, {**body, "team": "other"}, format="json")
    assert refused.status_code == 400
    assert "You do not belong to a team named 'other'." in str(refused.json())


@pytest.mark.parametrize("path", ["jobs", "datasets", "models", "sweeps", "webhooks"])
def test_team_member_sees_shared_rows_in_each_list(theirs: APIClient, bob: User, path: str) -> None:
    Group.objects.create(name="lab").user_set.add(bob)
    assert theirs.get(f"/api/v1/training/{path}").status_code == 200


def test_etag_changes_when_a_job_is_shared(
    api: APIClient, ada: User, dataset: Dataset, job: Job
) -> None:
    Group.objects.create(name="lab").user_set.add(ada)
    for url in (f"{JOBS}/{job.pk}", f"/api/v1/training/datasets/{dataset.pk}"):
        tag = api.get(url)["ETag"]
        api.patch(url, {"team": "lab"}, format="json")
        changed = api.get(url, headers={"If-None-Match": tag})
        assert (changed.status_code, changed.json()["team"]) == (200, "lab")


def test_etag_changes_with_what_a_job_waits_for(api: APIClient, job: Job) -> None:
    url = f"{JOBS}/{job.pk}"
    alone = api.get(url)
    assert alone.json()["waits_for"] == "No worker is online."
    workers.register("w", 1)
    changed = api.get(url, headers={"If-None-Match": alone["ETag"]})
    assert (changed.status_code, changed.json()["waits_for"]) == (200, "")


def test_sharing_with_outdated_if_match_is_412(api: APIClient, ada: User, job: Job) -> None:
    Group.objects.create(name="lab").user_set.add(ada)
    patch = {"team": "lab", "name": "Ours"}
    old = api.patch(f"{JOBS}/{job.pk}", patch, format="json", headers={"If-Match": '"old"'})
    assert old.status_code == 412
    assert not AuditEntry.objects.filter(action="share").exists()
    assert api.get(f"{JOBS}/{job.pk}").json()["team"] is None


def test_sharing_with_a_foreign_team_is_refused(api: APIClient, job: Job) -> None:
    Group.objects.create(name="others")
    answer = api.patch(f"{JOBS}/{job.pk}", {"team": "others"}, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"] == {"team": ["You do not belong to a team named 'others'."]}


def test_token_is_listed_revoked_and_expires(ada: User, theirs: APIClient) -> None:
    row, token = tokens.create_token(ada, "notebook", days=1)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    (listed,) = client.get("/api/v1/auth/tokens").json()
    assert listed["name"] == "notebook" and listed["last_used_at"] is not None
    assert token not in str(listed)
    assert theirs.delete(f"/api/v1/auth/tokens/{row.pk}").status_code == 404
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(JOBS).status_code == 401
    ApiToken.objects.update(expires_at=None)
    assert client.delete(f"/api/v1/auth/tokens/{row.pk}").status_code == 204
    assert client.get(JOBS).status_code == 401
    trail = AuditEntry.objects.exclude(action="password set").values_list("actor", "action")
    assert set(trail) == {("ada", "token created"), ("ada", "token revoked")}


def test_audit_log_contains_the_request_id(ada: User) -> None:
    client = APIClient(headers={"X-Request-ID": "mine-1"})
    sent = {"username": "ada", "password": "wrong"}
    answer = client.post("/api/v1/auth/token", sent, format="json")
    assert answer["X-Request-ID"] == "mine-1"
    entry = AuditEntry.objects.get(action="sign in refused")
    assert entry.target == "ada"
    assert (entry.request_id, entry.address) == ("mine-1", "127.0.0.1")


def test_gpu_job_shows_what_it_waits_for(
    api: APIClient, ada: User, dataset: Dataset, settings: object
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(), policy=QueuePolicy(needs="gpu"))
    text = api.get(f"{JOBS}/{job.pk}").json()
    assert text["waits_for"] == "No worker is online."
    workers.register("plain", 2, ["cpu"])
    assert api.get(f"{JOBS}/{job.pk}").json()["waits_for"] == "No worker with a GPU is online."
    assert claim(job.pk, "plain") is None
    workers.register("fast", 1, ["cpu", "gpu"])
    assert api.get(f"{JOBS}/{job.pk}").json()["waits_for"] == ""


def test_job_with_higher_priority_starts_first(staff: User, dataset: Dataset, job: Job) -> None:
    urgent = lifecycle.submit(staff, dataset, TrainConfig(), policy=QueuePolicy(priority=5))
    lifecycle.submit(staff, dataset, TrainConfig(), policy=QueuePolicy(priority=9, needs="gpu"))
    assert next_job(["cpu"]) == urgent.pk


def test_rows_that_are_created_shared_are_audited(
    api: APIClient, ada: User, dataset: Dataset
) -> None:
    ada.groups.add(lab := Group.objects.create(name="lab"))
    shared = {"dataset_id": str(dataset.pk), "team": "lab"}
    job = api.post(JOBS, shared, format="json").json()["id"]
    report = {"name": "Reported", "team": "lab"}
    run = api.post("/api/v1/training/reports", report, format="json").json()["id"]
    space = {"learning_rate": {"values": [0.1, 0.01]}}
    body = {**shared, "name": "Rates", "method": "grid", "space": space}
    sweep = api.post(SWEEPS, body, format="json").json()["id"]
    generation = lifecycle.submit_generation(ada, "Made", GenerateConfig(samples=50), lab)
    entries = AuditEntry.objects.filter(action="share").order_by("pk")
    assert [(entry.target.split()[:2], entry.actor, entry.detail) for entry in entries] == [
        (target, "ada", {"team": "lab"})
        for target in (
            ["job", job],
            ["job", run],
            ["sweep", sweep],
            ["dataset", str(generation.dataset_id)],
            ["job", str(generation.pk)],
        )
    ]
    assert Job.objects.filter(sweep=sweep, team=lab).count() == 2


def test_new_row_is_not_shared_with_a_team_that_the_user_has_left(
    api: APIClient, ada: User, bob: User, dataset: Dataset
) -> None:
    """The project is still shared with the team."""
    lab = Group.objects.create(name="lab")
    for user in (ada, bob):
        user.groups.add(lab)
    Project.objects.create(owner=ada, name="Shared", team=lab)
    job: dict[str, object] = {"dataset_id": str(dataset.pk), "project": "Shared"}
    space = {"learning_rate": {"values": [0.1, 0.01]}}
    creations: list[tuple[str, dict[str, object]]] = [
        (JOBS, job),
        ("/api/v1/training/reports", {"project": "Shared"}),
        (SWEEPS, {**job, "name": "Rates", "method": "grid", "space": space}),
    ]
    for path, body in creations:
        assert api.post(path, body, format="json").json()["team"] == "lab", path
    ada.groups.remove(lab)
    ada = User.objects.get(pk=ada.pk)
    api.force_authenticate(ada)
    for path, body in creations:
        assert api.post(path, body, format="json").json()["team"] is None, path
    assert not Job.objects.filter(sweep__team=None, sweep__isnull=False, team=lab).exists()
