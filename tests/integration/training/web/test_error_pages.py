"""Rejected and failed requests get an error page with a link to continue."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from training.accounts.rate_limits import RateLimitResult
from training.models import Job


def check_page(answer: Any, status: int, *sentences: str) -> str:
    html = str(answer.content.decode())
    assert answer.status_code == status
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert 'class="brand"' in html
    assert 'class="button"' in html
    for sentence in sentences:
        assert sentence in html
    return html


@pytest.mark.django_db
def test_unknown_host_is_400(client: Client) -> None:
    check_page(client.get("/jobs", headers={"host": "evil.example"}), 400, "host name")


def test_admin_is_403_for_plain_users(page: Client) -> None:
    html = check_page(page.get("/admin/", follow=True), 403, "You do not have access")
    assert "signed in as ada" in html
    assert "Sign out" in html


def test_unknown_page_is_404(page: Client) -> None:
    html = check_page(page.get("/nothing"), 404, "Page not found")
    assert 'href="/jobs"' in html


@pytest.mark.django_db
def test_unknown_page_is_404_for_strangers(client: Client) -> None:
    check_page(client.get("/nothing"), 404, "Page not found")


@pytest.mark.parametrize("signed_in", [True, False])
def test_get_of_a_button_is_405_and_links_to_its_page(
    client: Client, ada: User, job: Job, signed_in: bool
) -> None:
    if signed_in:
        client.force_login(ada)
    for path, page in {
        f"/jobs/{job.pk}/share": f"/jobs/{job.pk}",
        f"/jobs/{job.pk}/pause": f"/jobs/{job.pk}",
        f"/datasets/{job.dataset_id}/delete": f"/datasets/{job.dataset_id}",
        "/jobs/first": "/jobs",
        "/jobs/actions": "/jobs",
        "/logout": "/jobs",
    }.items():
        answer = client.get(path)
        html = check_page(answer, 405, "POST", "Nothing was changed")
        assert f'<a class="button" href="{page}"' in html
        assert "POST" in answer["Allow"]


def test_too_large_form_is_413(page: Client, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = page.post("/projects/new", {"name": "x" * 2000})
    check_page(answer, 413, "too large", "Nothing was saved")


@pytest.mark.parametrize("method", ["get", "post"])
def test_too_many_requests_are_429(
    page: Client, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    refused = RateLimitResult(granted=False, remaining=0, reset=37)
    monkeypatch.setattr("training.web.throttling.rate_limiter.acquire", lambda *_: refused)
    answer = getattr(page, method)("/projects/new")
    check_page(answer, 429, "Too many requests", "Nothing was changed; try again in 37 seconds.")
    assert answer["Retry-After"] == "37"


def fail(error: Exception) -> Any:
    def view(*_: Any, **__: Any) -> None:
        raise error

    return view


def test_bug_is_500_with_the_request_id(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.web.views.programs.list_programs", fail(ValueError("secret")))
    page.raise_request_exception = False
    answer = page.get("/programs", headers={"x-request-id": "abc-123"})
    html = check_page(answer, 500, "Something went wrong", "abc-123")
    assert "secret" not in html


def test_database_outage_is_503_without_another_query(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.web.views.programs.list_programs", fail(OperationalError("x")))
    page.raise_request_exception = False
    answer = page.get("/programs")
    check_page(answer, 503, "The database cannot be reached", "Nothing was changed")
    assert answer["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("typed", "page_url"),
    [
        ("/jobs/", "/jobs"),
        ("/datasets/?page=2", "/datasets?page=2"),
        ("/jobs/new//", "/jobs/new"),
        ("/api/v1/docs/", "/api/v1/docs"),
        ("/login/", "/login"),
        ("/healthz/", "/healthz"),
    ],
)
def test_slash_at_the_end_is_redirected(page: Client, typed: str, page_url: str) -> None:
    answer = page.get(typed)
    assert (answer.status_code, answer["Location"]) == (301, page_url)


def test_slash_redirect_stays_on_this_site(page: Client) -> None:
    for path in ("/%2Fevil.example/", "/jobs//evil.example/"):
        assert page.get(path).status_code == 404


def test_pages_are_not_cached(page: Client, job: Job) -> None:
    for path in ("/jobs", f"/jobs/{job.pk}", "/datasets", "/admin/", "/nothing", "/login"):
        assert page.get(path)["Cache-Control"] in (
            "private, no-store",
            "max-age=0, no-cache, no-store, must-revalidate, private",
        ), path
    assert page.get("/api/v1/training/jobs")["Cache-Control"] == "private, no-cache"
    assert "no-cache" in page.get("/api/v1/auth/tokens")["Cache-Control"]
