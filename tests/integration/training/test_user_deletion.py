"""Deleting users, by command and in the admin."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.jobs import claim_job
from training.accounts import tokens
from training.jobs import directories, lifecycle, reports, results
from training.localization.config import TrainConfig
from training.models import (
    ApiToken,
    AuditEntry,
    Dataset,
    Job,
    ModelVersion,
    Project,
    RegisteredModel,
    Sweep,
    TrackioRun,
)
from training.models.states import Status
from training.models.webhooks import Webhook
from training.sweeps import lifecycle as sweeps
from training.sweeps.spec import validate_spec
from training.user_deletion import UserDeletionError, delete_user


def command(*args: str) -> str:
    out = StringIO()
    call_command("delete_user", *args, stdout=out)
    return out.getvalue()


@pytest.fixture
def owner(ada: User, dataset: Dataset, job: Job) -> User:
    """Ada with one of each: a queued job, a sweep, a dataset, a project, a webhook and a token."""
    plan = validate_spec(
        {"name": "Rates", "dataset_id": str(dataset.pk), "method": "grid",
         "space": {"learning_rate": {"values": [0.1, 0.01]}}}
    )  # fmt: skip
    sweeps.create(ada, dataset, plan)
    Project.objects.create(owner=ada, name="Maps")
    Webhook.objects.create(owner=ada, url="https://example.org/x", events=["job.completed"])
    tokens.create_token(ada)
    return ada


def test_everything_is_handed_over_and_running_jobs_continue(
    owner: User, bob: User, job: Job
) -> None:
    attempt = claim_job(job)
    Project.objects.create(owner=bob, name="Maps")
    owned = "1 job, 1 sweep, 1 dataset, 1 project"
    assert command("ada", "--hand-to", "bob", "--dry-run") == (
        f"ada would be deleted; {owned} handed to bob.\n"
    )
    assert command("ada", "--hand-to", "bob") == f"ada was deleted; {owned} handed to bob.\n"
    assert list(User.objects.values_list("username", flat=True)) == ["bob"]
    owners = {Job.objects.get().owner, Sweep.objects.get().owner, Dataset.objects.get().owner}
    assert owners == {bob}
    assert set(Project.objects.values_list("name", flat=True)) == {"Maps", "Maps (of ada)"}
    assert not Webhook.objects.exists() and not ApiToken.objects.exists()
    results.pause_attempt(attempt)
    assert lifecycle.resume(Job.objects.get(), "bob").status == Status.QUEUED
    entry = AuditEntry.objects.get(action="user deleted")
    assert (entry.actor, entry.detail["handed_to"], entry.detail["jobs"]) == ("manage.py", "bob", 1)


def test_everything_of_the_user_is_deleted_with_its_files(
    owner: User,
    dataset: Dataset,
    job: Job,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    folder = directories.job_directory(job.pk)
    folder.mkdir(parents=True)
    reports.register(owner, reports.NewReport(name="far"), None, None)
    with django_capture_on_commit_callbacks(execute=True):  # files are removed after the commit
        assert command("ada", "--delete", "--wait", "0").startswith("ada was deleted; 2 jobs")
    for model in (User, Job, Sweep, Dataset, Project, Webhook, ApiToken):
        assert not model.objects.exists(), model
    assert not Path(dataset.path).exists()


def test_runs_that_both_users_imported_are_handed_over(owner: User, bob: User) -> None:
    for user in (owner, bob):
        job = reports.register(user, reports.NewReport(), None, None, external_id="import:1")
        reports.finish(job, reports.Finish(status="completed"), user.username)
    command("ada", "--hand-to", "bob")
    imported = Job.objects.filter(owner=bob, reported=True)
    assert sorted(imported.values_list("external_id", flat=True)) == ["", "import:1"]


def test_runs_of_trackio_are_handed_over(owner: User, bob: User) -> None:
    """Otherwise they would fail without reports, and the new owner could not continue them."""
    for user, run_id in ((owner, "a"), (owner, "b"), (bob, "b")):
        job = reports.register(user, reports.NewReport(), None, None)
        TrackioRun.objects.create(job=job, owner=user, run_id=run_id)
    command("ada", "--hand-to", "bob")
    handed = TrackioRun.objects.filter(owner=bob, job__owner=bob)
    assert sorted(handed.values_list("run_id", flat=True)) == ["a", "b"]
    assert Job.objects.filter(owner=bob, reported=True).count() == 3


def test_registered_models_are_handed_over_with_their_versions(owner: User, bob: User) -> None:
    for user, name in ((owner, "net"), (owner, "n" * 250), (bob, "net"), (bob, "n" * 250)):
        model = RegisteredModel.objects.create(
            owner=user, name=name, aliases={"best": 1}, updated_at=timezone.now()
        )
        ModelVersion.objects.create(registered=model, version=1, updated_at=timezone.now())
    assert ", 2 registered models handed to bob" in command("ada", "--hand-to", "bob", "--dry-run")
    command("ada", "--hand-to", "bob")
    models = RegisteredModel.objects.filter(owner=bob, aliases={"best": 1})
    assert set(models.values_list("name", flat=True)) == {
        "net", "net (of ada)", "n" * 250, "n" * 241 + " (of ada)",
    }  # fmt: skip
    assert ModelVersion.objects.count() == 4
    assert AuditEntry.objects.get(action="user deleted").detail["registered models"] == 2


def test_running_jobs_are_asked_to_stop_first(owner: User, job: Job) -> None:
    attempt = claim_job(job)
    with pytest.raises(CommandError, match=r"1 running job\(s\) were asked to stop"):
        command("ada", "--delete", "--wait", "0")
    owner.refresh_from_db()
    assert not owner.is_active
    assert Job.objects.get(pk=job.pk).stop_requested == "cancel"
    results.cancel_attempt(attempt)
    command("ada", "--delete", "--wait", "0")
    assert not Job.objects.exists()


def test_datasets_used_by_others_are_listed_and_no_job_is_stopped(
    owner: User, bob: User, dataset: Dataset
) -> None:
    lifecycle.submit(bob, dataset, TrainConfig(), "Theirs")
    with pytest.raises(UserDeletionError, match="'Small' by job 'Theirs' of bob"):
        delete_user(owner, None)
    assert Job.objects.filter(owner=owner).get().status == Status.QUEUED


def test_only_superuser_unknown_and_inactive_users_are_refused(
    owner: User, bob: User, staff: User
) -> None:
    for args, message in (
        (("grace", "--hand-to", "ada"), "only active superuser"),
        (("eve", "--delete"), "User 'eve' does not exist."),
        (("ada", "--hand-to", "eve"), "User 'eve' does not exist."),
        (("ada", "--hand-to", "ada"), "a user other than"),
        (("ada",), "required"),
        (("ada", "--hand-to", "bob", "--delete"), "not allowed"),
    ):
        with pytest.raises(CommandError, match=message):
            command(*args)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    with pytest.raises(CommandError, match="bob is deactivated"):
        command("ada", "--hand-to", "bob")
    assert User.objects.count() == 3


@pytest.fixture
def admin_client(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


def test_superuser_hands_objects_over_in_the_admin(
    admin_client: Any, owner: User, bob: User, staff: User
) -> None:
    url = f"/admin/auth/user/{owner.pk}/delete/"
    assert "owns 1 job, 1 sweep" in admin_client.get(url).content.decode()
    missing = admin_client.post(url, {"what": "hand over"})
    assert missing.status_code == 400
    assert "Choose the user who gets them." in missing.content.decode()
    done = admin_client.post(url, {"what": "hand over", "to": "bob"}, follow=True)
    assert "Deleted ada." in done.content.decode()
    assert Job.objects.get().owner == bob
    assert AuditEntry.objects.get(action="user deleted").actor == "grace"


def test_superuser_deletes_with_everything_in_the_admin(admin_client: Any, owner: User) -> None:
    admin_client.post(f"/admin/auth/user/{owner.pk}/delete/", {"what": "delete"})
    assert not Job.objects.exists() and not User.objects.filter(username="ada").exists()


def test_admin_refuses_deleting_oneself_and_deletion_without_permission(
    admin_client: Any, staff: User, owner: User
) -> None:
    User.objects.create_superuser("root", password="root-secret-1")
    own = admin_client.post(f"/admin/auth/user/{staff.pk}/delete/", {"what": "delete"})
    assert "You cannot delete yourself" in own.content.decode()
    User.objects.filter(pk=staff.pk).update(is_superuser=False)
    answer = admin_client.post(f"/admin/auth/user/{owner.pk}/delete/", {"what": "delete"})
    assert answer.status_code == 403
    assert User.objects.filter(username="ada").exists()


def test_admin_changes_of_users_are_audited(admin_client: Any, ada: User) -> None:
    page = admin_client.get(f"/admin/auth/user/{ada.pk}/change/")
    sent = {name: value for name, value in page.context["adminform"].form.initial.items() if value}
    sent |= {"is_staff": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    sent |= {"groups": [], "user_permissions": []}
    sent.pop("last_login", None)
    answer = admin_client.post(f"/admin/auth/user/{ada.pk}/change/", sent)
    assert answer.status_code == 302, answer.context["errors"]
    entry = AuditEntry.objects.get(action="changed")
    assert entry.actor == "grace"
    assert "Staff status" in entry.detail["fields"]


def test_admin_ends_the_access_of_users(admin_client: Any, ada: User) -> None:
    _, token = tokens.create_token(ada)
    other = Client()
    other.force_login(ada)
    chosen = {"action": "end_access", "_selected_action": [str(ada.pk)]}
    admin_client.post("/admin/auth/user/", chosen)
    assert tokens.authenticate(token) is None
    assert other.get("/jobs").status_code == 302
