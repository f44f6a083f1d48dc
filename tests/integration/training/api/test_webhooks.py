from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from training.models import AuditEntry
from training.models.webhooks import Webhook

HOOKS = "/api/v1/training/webhooks"


@pytest.fixture
def hook(api: APIClient, settings: Any) -> dict[str, Any]:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    body = {"url": "http://127.0.0.1:9/hook", "events": ["job.completed", "job.completed"]}
    answer = api.post(HOOKS, body, format="json")
    assert answer.status_code == 201, answer.json()
    return dict(answer.json())


def test_webhook_secret_is_shown_once(api: APIClient, hook: dict[str, Any]) -> None:
    assert hook["secret"].startswith("whsec_")
    assert hook["events"] == ["job.completed"]
    shown = api.get(f"{HOOKS}/{hook['id']}").json()
    assert "secret" not in shown
    assert api.get(HOOKS).json()["results"] == [shown]
    new = api.post(f"{HOOKS}/{hook['id']}/rotate").json()["secret"]
    assert new.startswith("whsec_")
    assert new != hook["secret"]


def test_webhook_with_the_same_key_is_created_once(api: APIClient, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    body = {"url": "http://127.0.0.1:9/hook", "events": ["job.failed"]}
    first, again = (
        api.post(HOOKS, body, format="json", headers={"Idempotency-Key": "one"}) for _ in range(2)
    )
    assert (first.status_code, again.content) == (201, first.content)
    assert again["Idempotency-Replayed"] == "true"
    assert Webhook.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"url": "https://127.0.0.1/x"}, "url", "which is not a public address"),
        ({"url": "https://169.254.169.254/latest"}, "url", "which is not a public address"),
        ({"url": "http://example.org/x"}, "url", "Only https://"),
        ({"url": "https://nowhere.invalid/"}, "url", "cannot be resolved"),
        ({"events": ["job.exploded"]}, "events.0", "not one of"),
        ({"events": []}, "events", "at least 1"),
        ({"url": "https://127.0.0.1/x", "secret": "mine"}, "secret", "Unknown field"),
    ],
)
def test_invalid_field_is_reported_and_nothing_is_created(
    api: APIClient, body: dict[str, Any], field: str, sentence: str
) -> None:
    sent = {"url": "https://127.0.0.1/x", "events": ["job.failed"], **body}
    answer = api.post(HOOKS, sent, format="json")
    assert answer.status_code == 400
    assert sentence in " ".join(answer.json()["errors"][field])
    assert not Webhook.objects.exists()


def test_webhook_can_be_changed_disabled_and_deleted(api: APIClient, hook: dict[str, Any]) -> None:
    path = f"{HOOKS}/{hook['id']}"
    changed = api.patch(path, {"events": ["sweep.failed"], "enabled": False}, format="json").json()
    assert (changed["events"], changed["enabled"]) == (["sweep.failed"], False)
    assert changed["url"] == hook["url"]
    refused = api.post(f"{path}/test")
    assert refused.status_code == 409
    assert refused.json()["detail"] == "This webhook is disabled; PATCH `enabled` to true first."
    assert api.patch(path, {"url": "gopher://x"}, format="json").status_code == 400
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    trail = (
        AuditEntry.objects.exclude(action="password set")
        .order_by("pk")
        .values_list("action", flat=True)
    )
    assert list(trail) == ["webhook made", "webhook changed", "webhook deleted"]


def test_deliveries_are_listed_and_redelivered(api: APIClient, hook: dict[str, Any]) -> None:
    path = f"{HOOKS}/{hook['id']}"
    made = api.post(f"{path}/test")
    assert made.status_code == 202
    assert made.json()["payload"]["type"] == "webhook.test"
    listed = api.get(f"{path}/deliveries").json()["results"]
    assert listed == [made.json()]
    assert listed[0]["status"] == "pending"
    again = api.post(f"{path}/deliveries/{made.json()['id']}/resend")
    assert (again.status_code, again.json()["message_id"]) == (202, made.json()["message_id"])
    entry = AuditEntry.objects.get(action="redelivered")
    assert (entry.target, entry.detail) == (
        f"delivery {made.json()['id']}",
        {"webhook": hook["id"]},
    )
    assert api.post(f"{path}/deliveries/{uuid4()}/resend").status_code == 404
    assert api.post(f"{path}/deliveries/abc/resend").status_code == 404


def test_webhook_of_another_user_is_404(api: APIClient, hook: dict[str, Any], bob: User) -> None:
    api.force_authenticate(bob)
    assert api.get(HOOKS).json()["results"] == []
    for change in ("rotate", "test"):
        assert api.post(f"{HOOKS}/{hook['id']}/{change}").status_code == 404
    assert api.get(f"{HOOKS}/{hook['id']}/deliveries").status_code == 404
