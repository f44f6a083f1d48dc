"""Every error under /api/ is a problem, whoever answers it."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import RequestDataTooBig
from django.test import Client
from rest_framework.test import APIClient

from training.api.views.jobs import JobViewSet

API = "/api/v1/training"
JOBS = f"{API}/jobs"


def is_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem = dict(answer.json())
    assert problem["status"] == status
    assert problem["type"] == "about:blank" and problem["title"] and problem["detail"]
    return problem


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2/jobs", f"{JOBS}/", f"{JOBS}/x/y/z"])
def test_unknown_path_is_404(api: APIClient, path: str) -> None:
    for method in (api.get, api.post, api.delete):
        is_problem(method(path), 404)


def test_invalid_job_id_is_404(api: APIClient) -> None:
    is_problem(api.get(f"{JOBS}/not-a-uuid"), 404)


@pytest.mark.parametrize("path", [JOBS, "/api/v1/auth/token", "/api/v1/schema", "/api/v1/docs"])
def test_unsupported_method_is_405(api: APIClient, path: str) -> None:
    answer = api.put(path, {}, format="json")
    is_problem(answer, 405)
    assert "PUT" not in answer["Allow"]


def test_unsupported_accept_header_is_not_acceptable(api: APIClient) -> None:
    is_problem(api.get(JOBS, headers={"Accept": "text/html"}), 406)
    is_problem(api.get("/api/v1/schema", headers={"Accept": "image/png"}), 406)


def test_unsupported_content_type_is_415(api: APIClient) -> None:
    is_problem(api.post(JOBS, "hello", content_type="text/plain"), 415)


@pytest.mark.parametrize("body", ["{", "[1]", '{"epochs": NaN}', "\xff"])
def test_body_that_is_not_a_json_object_is_400(api: APIClient, body: str) -> None:
    is_problem(api.post(JOBS, body.encode("latin-1"), content_type="application/json"), 400)


@pytest.mark.parametrize("depth", [300, 600, 100_000])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "deep"}])
def test_body_that_is_nested_too_deeply_is_400(
    api: APIClient, depth: int, headers: dict[str, str]
) -> None:
    body = '{"notes": ' + "[" * depth + "]" * depth + "}"
    for path in (JOBS, "/api/v1/auth/token"):
        answer = api.post(path, body, content_type="application/json", headers=headers)
        is_problem(answer, 400)


def test_oversized_request_is_413(api: APIClient) -> None:
    with patch.object(JobViewSet, "create", side_effect=RequestDataTooBig("Too much.")):
        is_problem(api.post(JOBS, {}, format="json"), 413)
    many = {f"field{n}": "1" for n in range(1100)}
    is_problem(api.post(f"{API}/datasets/import", many, format="multipart"), 413)


def test_missing_or_invalid_token_is_unauthorized(db: None, client: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = client.get(JOBS, headers=headers)
        is_problem(answer, 401)
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_session_without_csrf_token_is_403(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    is_problem(client.post(JOBS, {}, content_type="application/json"), 403)


def test_unknown_host_header_is_400(client: Client) -> None:
    is_problem(client.get(JOBS, headers={"Host": "evil.example"}), 400)


def test_unhandled_exception_is_500_with_the_request_id(client: Client, ada: User) -> None:
    client.force_login(ada)
    client.raise_request_exception = False
    with patch.object(JobViewSet, "list", side_effect=KeyError("secret")):
        problem = is_problem(client.get(JOBS), 500)
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "query",
    ["cursor=cD1ub25zZW5zZQ==", "status=x", "dataset_id=x", "dataset_id=", "owner=%00", "tag=%00"],
)  # fmt: skip
def test_invalid_filter_is_400(api: APIClient, query: str) -> None:
    is_problem(api.get(f"{JOBS}?{query}"), 400)


@pytest.mark.parametrize("query", ["after=x", "after=-1", f"after={10**30}"])
def test_invalid_event_seq_is_400(api: APIClient, dataset: Any, query: str) -> None:
    made = api.post(JOBS, {"dataset_id": str(dataset.pk)}, format="json").json()
    is_problem(api.get(f"{JOBS}/{made['id']}/events?{query}"), 400)
