"""Every error below /api/ is a problem (RFC 9457), wherever it is raised."""

from __future__ import annotations

import gzip
from typing import Any
from unittest.mock import patch

import psycopg.errors
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.test import Client
from rest_framework.test import APIClient

from training.api.views.jobs import JobViewSet
from training.models import Dataset, Job, Project

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


@pytest.mark.parametrize("pk", ["not-a-uuid", "00000000-0000-4000-8000-000000000000"])
@pytest.mark.parametrize(
    ("path", "what"),
    [("jobs", "Job"), ("datasets", "Dataset"), ("models", "Model"), ("sweeps", "Sweep"),
     ("projects", "Project"), ("webhooks", "Webhook")],
)  # fmt: skip
def test_missing_object_is_named(api: APIClient, path: str, what: str, pk: str) -> None:
    problem = is_problem(api.get(f"{API}/{path}/{pk}"), 404)
    assert problem["detail"] == f"{what} {pk} does not exist, or you cannot view it."


def test_points_for_a_job_run_by_heimdall_are_404_with_a_sentence(api: APIClient, job: Job) -> None:
    answer = api.post(f"{API}/reports/{job.pk}/points", {"points": []}, format="json")
    sentence = f"Reported job {job.pk} does not exist, or you cannot view it."
    assert is_problem(answer, 404)["detail"] == sentence


@pytest.mark.parametrize("path", [JOBS, "/api/v1/auth/token", "/api/v1/schema", "/api/v1/docs"])
def test_unsupported_method_is_405(api: APIClient, path: str) -> None:
    answer = api.put(path, {}, format="json")
    problem = is_problem(answer, 405)
    assert "PUT" not in answer["Allow"]
    assert problem["detail"].startswith("PUT is not allowed here; use ")


def test_unsupported_accept_header_is_not_acceptable(api: APIClient) -> None:
    is_problem(api.get(JOBS, headers={"Accept": "text/html"}), 406)
    is_problem(api.get("/api/v1/schema", headers={"Accept": "image/png"}), 406)


def test_unsupported_content_type_is_415(api: APIClient) -> None:
    problem = is_problem(api.post(JOBS, "hello", content_type="text/plain"), 415)
    assert problem["detail"].endswith("; send application/json.")


def test_encoding_of_a_body_that_is_not_decoded_is_415(api: APIClient) -> None:
    answer = api.post(
        JOBS,
        gzip.compress(b'{"epochs": 3}'),
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.status_code == 415
    assert answer.json()["detail"] == (
        "Content-Encoding 'gzip' is not supported here; send the JSON itself."
    )


def test_missing_credentials_error_names_what_to_send() -> None:
    assert "Authorization: Bearer" in is_problem(APIClient().get(JOBS), 401)["detail"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", ("The body is not JSON: Expecting property name enclosed in double quotes "
               "(line 1, column 2).")),
        (b'{"epochs": NaN}', "NaN is not a number in JSON; send null or leave the field out."),
        (b'{"name": "\xff"}', "The body is not JSON in UTF-8: byte 10 is invalid."),
        (b'{"epochs": ' + b"9" * 5000 + b"}",
         "The body has a whole number of more than 4,300 digits."),
    ],
)  # fmt: skip
def test_body_that_is_not_json_is_explained(api: APIClient, body: bytes, sentence: str) -> None:
    answer = api.post(JOBS, body, content_type="application/json")
    assert is_problem(answer, 400)["detail"] == sentence


def test_byte_order_mark_before_a_body_is_ignored(api: APIClient) -> None:
    body = b'\xef\xbb\xbf{"name": "From Windows"}'
    answer = api.post(f"{API}/projects", body, content_type="application/json")
    assert (answer.status_code, answer.json()["name"]) == (201, "From Windows")


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "clone"])
def test_field_in_a_call_without_fields_is_rejected(api: APIClient, job: Job, action: str) -> None:
    answer = api.post(f"{JOBS}/{job.pk}/{action}", {"epochs": 3}, format="json")
    assert is_problem(answer, 400)["errors"] == {
        "epochs": ["Unknown field; this call takes no fields."]
    }
    assert api.post(f"{JOBS}/{job.pk}/{action}", {}, format="json").status_code != 400


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=done", ("'done' is not one of queued, running, paused, completed, failed, "
                        "cancelled.")),
        ("status=queued&status=x", "'x' is not one of"),
        ("kind=x", "'x' is not one of training, generation."),
        ("dataset_id=x", "'x' is not a UUID."),
    ],
)  # fmt: skip
def test_invalid_filter_is_answered_with_the_valid_values(
    api: APIClient, query: str, sentence: str
) -> None:
    (sentences,) = is_problem(api.get(f"{JOBS}?{query}"), 400)["errors"].values()
    assert sentences[0].startswith(sentence)


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"days": 1, "foo": 1}, "foo", "Unknown field."),
        ({"scopes": "read"}, "scopes", "This must be a list."),
        ({"scopes": ["x"]}, "scopes",
         '"x" is not a valid choice. Choose from read, report, train, admin.'),
        ({"username": ["ada"]}, "username", '["ada"] is not a string.'),
        ({"username": "a\0"}, "username",
         "Contains the control character U+0000, which is not allowed; remove it."),
    ],
)  # fmt: skip
def test_invalid_field_of_a_token_request_is_explained(
    api: APIClient, body: dict[str, Any], field: str, sentence: str
) -> None:
    sent = {"username": "ada", "password": "x", **body}
    answer = api.post("/api/v1/auth/token", sent, format="json")
    assert is_problem(answer, 400)["errors"][field] == [sentence]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_and_metrics_accept_only_get_and_head(path: str) -> None:
    answer = Client(enforce_csrf_checks=True).post(path)
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_project_cannot_have_the_name_of_the_default_project(api: APIClient) -> None:
    taken = "You already have a project named 'Default'; choose another name."
    answer = api.post(f"{API}/projects", {"name": "Default"}, format="json")
    assert is_problem(answer, 400)["errors"] == {"name": [taken]}
    made = api.post(f"{API}/projects", {"name": "Mine"}, format="json").json()["id"]
    answer = api.patch(f"{API}/projects/{made}", {"name": "Default"}, format="json")
    assert is_problem(answer, 400)["errors"] == {"name": [taken]}


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
    many = {f"field{n}": "1" for n in range(settings.DATA_UPLOAD_MAX_NUMBER_FIELDS + 1)}
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


@pytest.mark.django_db(transaction=True)
def test_project_deleted_while_a_job_is_submitted_is_409(
    api: APIClient, page: Client, ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(*_: object, **__: object) -> None:
        Project.objects.all().delete()

    monkeypatch.setattr("training.accounts.limits.require", require)
    page.raise_request_exception = False
    project = Project.objects.create(owner=ada, name="Short-lived")
    body = {"dataset_id": str(dataset.pk), "project": str(project.pk)}
    answer = api.post(JOBS, body, "json")
    assert answer.status_code == 409
    assert "was deleted in the meantime. Nothing was saved" in answer.json()["detail"]
    form = page.get("/jobs/new").context["form"]
    values = {field.name: field.value() for field in form if field.value() is not None}
    shown = page.post("/jobs/new", {**values, "dataset": dataset.pk, "project": "Short-lived"})
    assert shown.status_code == 409
    assert "was deleted in the meantime. Nothing was saved" in shown.content.decode()
    assert 'href="/jobs/new"' in shown.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "cause", [psycopg.errors.ProgramLimitExceeded("x"), psycopg.errors.StatementTooComplex("x")]
)
def test_request_that_is_too_large_for_the_database_is_400(
    api: APIClient, cause: Exception
) -> None:
    error = OperationalError("index row size 3000 exceeds btree version 4 maximum 2704")
    error.__cause__ = cause
    with patch.object(JobViewSet, "list", side_effect=error):
        problem = is_problem(api.get(JOBS), 400)
    assert problem["detail"] == (
        "A value or the query of the request is too large for the database."
    )
