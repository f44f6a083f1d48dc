"""Tokens, sessions, problems and the schema: behavior that all endpoints share."""

from __future__ import annotations

import hashlib

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from training.models import ApiToken

JOBS = "/api/v1/training/jobs"
TOKEN = "/api/v1/auth/token"


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


def test_token_authenticates_requests(anonymous: APIClient, ada: User) -> None:
    answer = anonymous.post(TOKEN, {"username": "ada", "password": "ada-secret-1"}, format="json")
    assert answer.status_code == 200
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['token']}")
    assert anonymous.get(JOBS).status_code == 200


def test_only_a_digest_of_the_token_is_stored(anonymous: APIClient, ada: User) -> None:
    sent = {"username": "ada", "password": "ada-secret-1"}
    token = anonymous.post(TOKEN, sent, format="json").json()["token"]
    assert ApiToken.objects.get().digest == hashlib.sha256(token.encode()).hexdigest()


def test_wrong_password_gives_no_token(anonymous: APIClient, ada: User) -> None:
    answer = anonymous.post(TOKEN, {"username": "ada", "password": "guess"}, format="json")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The user name or the password is wrong."


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("days", 0, "0 is too small; it must be at least 1."),
        ("days", 5000, "5000 is too large; it must be at most 3650."),
        ("days", "soon", "'soon' is not a whole number."),
        ("name", "n" * 101, "Too long (101 characters); at most 100 allowed."),
        ("username", "", "This field may not be blank."),
    ],
)
def test_invalid_token_request_names_field_value_and_bound(
    anonymous: APIClient, field: str, value: object, message: str
) -> None:
    sent = {"username": "ada", "password": "ada-secret-1", field: value}
    answer = anonymous.post(TOKEN, sent, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"] == {field: [message]}


@pytest.mark.django_db
def test_response_without_token_explains_authentication(anonymous: APIClient) -> None:
    answer = anonymous.get(JOBS)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 401


@pytest.mark.django_db
def test_unknown_token_error_names_where_to_get_one(anonymous: APIClient) -> None:
    anonymous.credentials(HTTP_AUTHORIZATION="Bearer nonsense")
    answer = anonymous.get(JOBS)
    assert answer.status_code == 401
    assert "POST /api/v1/auth/token" in answer.json()["detail"]


def test_token_of_an_inactive_user_is_refused(anonymous: APIClient, ada: User) -> None:
    sent = {"username": "ada", "password": "ada-secret-1"}
    token = anonymous.post(TOKEN, sent, format="json").json()["token"]
    User.objects.update(is_active=False)
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert anonymous.get(JOBS).status_code == 401


def test_session_authenticates_and_requires_csrf_token(ada: User) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.login(username="ada", password="ada-secret-1")
    assert browser.get(JOBS).status_code == 200
    assert browser.post(JOBS, {}, format="json").status_code == 403


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2/jobs", f"{JOBS}/", f"{JOBS}/x"])
def test_unknown_paths_are_problems_too(api: APIClient, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_post_to_unknown_path_is_a_problem_not_a_csrf_page(db: None) -> None:
    answer = APIClient(enforce_csrf_checks=True).post("/api/nowhere")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_method_not_allowed_is_a_problem(api: APIClient) -> None:
    answer = api.put(JOBS, {}, format="json")
    assert answer.status_code == 405
    assert answer.json()["title"] == "Method Not Allowed"


@pytest.mark.django_db
def test_unhandled_exception_is_a_problem(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(ada)

    def broken(*_: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("training.api.views.jobs.visible_in_order", broken)
    answer = client.get(JOBS)
    assert answer.status_code == 500
    assert answer["Content-Type"] == "application/problem+json"
    assert "bug" not in answer.content.decode()


@pytest.mark.django_db
def test_schema_is_openapi_3_1_and_lists_every_endpoint(anonymous: APIClient) -> None:
    answer = anonymous.get("/api/v1/schema?format=json")
    assert answer.status_code == 200
    schema = answer.json()
    assert schema["openapi"].startswith("3.1")
    for path in ("jobs", "jobs/{id}/pause", "jobs/{id}/epochs", "datasets/generate"):
        assert f"/api/v1/training/{path}" in schema["paths"]
    created = schema["components"]["schemas"]["CreateJob"]
    assert created["properties"]["epochs"]["minimum"] == 1


@pytest.mark.django_db
def test_docs_are_an_html_page(anonymous: APIClient) -> None:
    assert b"swagger" in anonymous.get("/api/v1/docs").content.lower()
