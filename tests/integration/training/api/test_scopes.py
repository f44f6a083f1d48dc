"""Each endpoint requires a scope of the token, and names it when it is missing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from training.accounts import tokens
from training.models import ApiToken, Dataset, Job
from training.models.scopes import SCOPES

API = "/api/v1/training"
TOKEN = "/api/v1/auth/token"


def client_with(user: User, *scopes: str) -> APIClient:
    _, token = tokens.create_token(user, scopes=scopes)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def test_default_scopes_are_all_but_admin(ada: User) -> None:
    sent = {"username": "ada", "password": "ada-secret-1"}
    created = APIClient().post(TOKEN, sent, format="json").json()
    assert created["scopes"] == ["read", "report", "train"]
    assert ApiToken.objects.get().scopes == ["read", "report", "train"]


def test_requested_scopes_are_kept_and_listed(ada: User) -> None:
    sent = {"username": "ada", "password": "ada-secret-1", "scopes": ["read", "read"]}
    created = APIClient().post(TOKEN, sent, format="json").json()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {created['token']}")
    (listed,) = client.get("/api/v1/auth/tokens").json()
    assert listed["scopes"] == created["scopes"] == ["read"]


@pytest.mark.parametrize("scopes", [[], ["write"], "read", [1], None])
def test_unknown_or_no_scopes_are_refused(ada: User, scopes: object) -> None:
    sent = {"username": "ada", "password": "ada-secret-1", "scopes": scopes}
    answer = APIClient().post(TOKEN, sent, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["scopes"]


def operations(client: APIClient) -> list[tuple[str, str, str]]:
    """Method, path and scope of each operation, from the OpenAPI schema."""
    schema = client.get("/api/v1/schema?format=json").json()
    found = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            needed = [one["bearer"] for one in operation.get("security", []) if "bearer" in one]
            if needed and needed[0]:
                found.append((method, path, needed[0][0]))
    return found


def test_every_operation_refuses_a_token_without_its_scope(ada: User, dataset: Dataset) -> None:
    listed = operations(APIClient())
    assert len(listed) > 50
    assert {scope for _, _, scope in listed} == {"read", "report", "train"}
    clients: dict[str, APIClient] = {
        scope: client_with(ada, *(other for other in SCOPES if other != scope)) for scope in SCOPES
    }
    for method, path, scope in listed:
        url = path.replace("{id}", str(dataset.pk)).replace("{name}", "x")
        url = url.replace("{delivery_id}", str(dataset.pk)).replace("{number}", "1")
        call = getattr(clients[scope], method)
        answer = call(url) if method == "get" else call(url, {}, format="json")
        assert answer.status_code == 403, (method, url)
        assert f"lacks the scope '{scope}'" in answer.json()["detail"]


def test_reporting_needs_only_the_scope_report(ada: User) -> None:
    client = client_with(ada, "report")
    job = client.post(f"{API}/reports", {"name": "far"}, format="json").json()
    path = f"{API}/reports/{job['id']}"
    assert client.post(f"{path}/heartbeat").status_code == 200
    points = {"batch": "a-1", "points": [{"step": 1, "time": 1, "values": {"loss": 1.0}}]}
    assert client.post(f"{path}/points", points, format="json").status_code == 200
    assert client.get(f"{API}/jobs/{job['id']}").status_code == 403
    assert client.post(f"{API}/jobs/{job['id']}/cancel").status_code == 403


def test_scope_read_does_not_permit_changes(ada: User, job: Job) -> None:
    client = client_with(ada, "read")
    assert client.get(f"{API}/jobs/{job.pk}").status_code == 200
    for method, path in (("post", "/cancel"), ("post", "/clone"), ("patch", ""), ("delete", "")):
        assert getattr(client, method)(f"{API}/jobs/{job.pk}{path}").status_code == 403
    assert Job.objects.get().status == "queued"


def test_staff_with_a_token_without_admin_see_only_their_own_jobs(staff: User, job: Job) -> None:
    client = client_with(staff, "read", "train")
    assert client.get(f"{API}/jobs").json()["results"] == []
    for answer in (client.get(f"{API}/jobs/{job.pk}"), client.post(f"{API}/jobs/{job.pk}/cancel")):
        assert answer.status_code == 403
        assert "lacks the scope 'admin'" in answer.json()["detail"]
    assert client.get(f"{API}/jobs/{'0' * 8}-0000-4000-8000-{'0' * 12}").status_code == 404
    assert client_with(staff, *SCOPES).get(f"{API}/jobs/{job.pk}").status_code == 200


def test_admin_scope_gives_no_rights_to_ordinary_users(bob: User, job: Job) -> None:
    assert client_with(bob, *SCOPES).get(f"{API}/jobs/{job.pk}").status_code == 404


def test_token_can_revoke_itself_and_with_train_others(ada: User) -> None:
    reader = client_with(ada, "read")
    own = ApiToken.objects.get()
    client_with(ada, "train")
    other = ApiToken.objects.exclude(pk=own.pk).get()
    assert reader.delete(f"/api/v1/auth/tokens/{other.pk}").status_code == 403
    assert reader.delete(f"/api/v1/auth/tokens/{own.pk}").status_code == 204


def test_session_has_every_scope(page: Any, job: Job) -> None:
    assert page.get(f"{API}/jobs/{job.pk}").status_code == 200


def test_token_lifetime_is_limited_by_the_operator(ada: User, settings: Any) -> None:
    client = client_with(ada, "read")
    settings.TOKEN_MAX_DAYS = 30
    sent = {"username": "ada", "password": "ada-secret-1", "days": 31}
    answer = APIClient().post(TOKEN, sent, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"] == {"days": ["31 is too large; it must be at most 30."]}
    assert client.get(f"{API}/jobs").status_code == 200
    ApiToken.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert client.get(f"{API}/jobs").status_code == 401


def test_webhooks_of_staff_need_admin_because_they_receive_all_events(staff: User) -> None:
    sent = {"url": "https://example.org", "events": ["job.completed"]}
    answer = client_with(staff, "read", "train").post(f"{API}/webhooks", sent, format="json")
    assert answer.status_code == 403
    assert "lacks the scope 'admin'" in answer.json()["detail"]
