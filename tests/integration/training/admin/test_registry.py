"""The admin of datasets, models, workers, tokens, webhooks and the audit log."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from training.accounts import tokens
from training.jobs import attempts, results
from training.jobs.attempts import Attempt
from training.models import ApiToken, AuditEntry, Dataset, Job, Worker
from training.models.webhooks import Delivery, Webhook
from training.workers import registry as workers

ADMIN = "/admin/training"


@pytest.fixture
def staff_client(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def webhook(ada: User) -> Webhook:
    return Webhook.objects.create(owner=ada, url="https://example.org/h", events=["job.failed"])


def perform(staff_client: Client, model: str, action: str, *rows: Model) -> str:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return staff_client.post(f"{ADMIN}/{model}/", chosen, follow=True).content.decode()


def test_dataset_in_use_is_kept_with_the_reason(
    staff_client: Client, job: Job, dataset: Dataset
) -> None:
    html = perform(staff_client, "dataset", "delete_unused", dataset)
    assert "Dataset &#x27;Small&#x27; is used by job &#x27;First&#x27; of ada" in html
    assert Dataset.objects.get() == dataset


def test_unused_dataset_is_deleted_with_its_file(
    staff_client: Client, dataset: Dataset, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        html = perform(staff_client, "dataset", "delete_unused", dataset)
    assert "Deleted dataset &#x27;Small&#x27;." in html
    assert not Dataset.objects.exists()
    assert not Path(dataset.path).exists()
    entry = AuditEntry.objects.get(action="delete")
    assert (entry.actor, str(dataset.pk) in entry.target) == ("grace", True)


def test_revoked_token_no_longer_authenticates(staff_client: Client, ada: User) -> None:
    row, token = tokens.create_token(ada, "laptop")
    kept, other = tokens.create_token(ada, "server")
    listed = staff_client.get(f"{ADMIN}/apitoken/").content.decode()
    assert "laptop" in listed and token not in listed
    shown = staff_client.get(f"{ADMIN}/apitoken/{row.pk}/change/").content.decode()
    assert row.digest not in shown
    assert "Revoked a token of ada." in perform(staff_client, "apitoken", "revoke", row)
    assert tokens.authenticate(token) is None
    assert user_of(other) == ada
    assert ApiToken.objects.get() == kept
    entry = AuditEntry.objects.get(action="token revoked")
    assert (entry.actor, entry.detail) == ("grace", {"of": "ada"})


def test_workers_are_listed_with_state_and_hardware(staff_client: Client, job: Job) -> None:
    workers.register("one", 2, ["cpu", "gpu"])
    workers.register("two", 2)
    workers.register("three", 2)
    attempts.claim(job.pk, "one")
    gone = timezone.now() - timedelta(minutes=5)
    Worker.objects.filter(name="three").update(seen_at=gone)
    rows = {row.name: row for row in staff_client.get(f"{ADMIN}/worker/").context["cl"].result_list}
    html = staff_client.get(f"{ADMIN}/worker/").content.decode()
    assert set(rows) == {"one", "two", "three"}
    assert "cpu, gpu" in html
    for state in ("busy", "idle", "lost"):
        assert f'<td class="field-state">{state}</td>' in html
    assert "5 min ago" in html


def test_models_are_listed_with_error_and_bound(
    staff_client: Client, job: Job, running_attempt: Attempt
) -> None:
    evaluation: Any = {"test": {"rmse_m": 123.4}, "bound_rmse_m": 56.7}
    results.complete_training(running_attempt, "/c/best.safetensors", evaluation)
    html = staff_client.get(f"{ADMIN}/trainedmodel/").content.decode()
    assert "123 m" in html and "56.7 m" in html


def test_model_without_results_is_listed_with_dashes(
    staff_client: Client, job: Job, running_attempt: Attempt
) -> None:
    results.complete_training(running_attempt, "/c/best.safetensors", {})
    html = staff_client.get(f"{ADMIN}/trainedmodel/").content.decode()
    assert '<td class="field-test_rmse">–</td>' in html


def test_disabled_webhook_is_audited_and_keeps_its_first_reason(
    staff_client: Client, webhook: Webhook, ada: User
) -> None:
    gone = Webhook.objects.create(
        owner=ada, url="https://example.org/g", events=["job.failed"], enabled=False,
        disabled_reason="The receiver returned 410 Gone.",
    )  # fmt: skip
    html = perform(staff_client, "webhook", "disable", webhook, gone)
    assert "1 webhook disabled." in html
    reasons = dict(Webhook.objects.values_list("pk", "disabled_reason"))
    assert reasons == {
        webhook.pk: "Disabled by an operator.", gone.pk: "The receiver returned 410 Gone.",
    }  # fmt: skip
    assert not Webhook.objects.filter(enabled=True).exists()
    entry = AuditEntry.objects.get(action="webhook changed")
    assert (entry.actor, entry.detail) == ("grace", {"fields": ["enabled"]})
    assert str(webhook.pk) in entry.target


def test_deliveries_of_disabled_webhooks_are_not_resent(
    staff_client: Client, webhook: Webhook
) -> None:
    dead = Delivery.objects.create(webhook=webhook, event="job.failed", body="{}", status="dead")
    Webhook.objects.update(enabled=False)
    html = perform(staff_client, "delivery", "resend", dead)
    assert "1 not queued: the webhook is disabled." in html
    assert Delivery.objects.get().status == "dead"
    Webhook.objects.update(enabled=True)
    assert "1 queued for redelivery." in perform(staff_client, "delivery", "resend", dead)
    assert Delivery.objects.get().status == "pending"
    assert AuditEntry.objects.get(action="redelivered").actor == "grace"


def test_audit_log_is_listed_and_searched(staff_client: Client, ada: User) -> None:
    tokens.create_token(ada, "laptop")
    for query, count in (("?q=ada", 1), ("?action=token+created", 1), ("?q=nonsense", 0)):
        shown = staff_client.get(f"{ADMIN}/auditentry/{query}").context["cl"].result_list
        assert [entry.action for entry in shown] == ["token created"] * count, query


@pytest.mark.parametrize("model", ["dataset", "trainedmodel", "worker", "apitoken", "auditentry"])
def test_rows_cannot_be_added_by_hand(staff_client: Client, model: str) -> None:
    assert staff_client.get(f"{ADMIN}/{model}/add/").status_code == 403


def user_of(token: str) -> User | None:
    found = tokens.authenticate(token)
    return found[0] if found else None
