"""Rate limits, shared by all processes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from training.accounts.rate_limits import BatchedRateLimiter
from training.models import Allowance, AuditEntry

JOBS, TOKEN = "/api/v1/training/jobs", "/api/v1/auth/token"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves only when it is set."""
    now = [1_800_000_015.0]
    monkeypatch.setattr("training.accounts.rate_limits.time.time", lambda: now[0])
    return now


def test_throttled_response_has_retry_after(
    api: APIClient, settings: Settings, clock: list[float], bob: User
) -> None:
    settings.REQUESTS_PER_MINUTE = 3
    answers = [api.get(JOBS) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0]["RateLimit-Policy"] == '"user";q=3;w=60'
    assert [answer["RateLimit"] for answer in answers] == [
        f'"user";r={left};t=45' for left in (2, 1, 0, 0)
    ]
    refused = answers[-1]
    assert refused["Retry-After"] == "45"
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["status"] == 429
    api.force_authenticate(bob)
    assert api.get(JOBS).status_code == 200
    clock[0] += 45
    api.force_authenticate(User.objects.get(username="ada"))
    assert api.get(JOBS).status_code == 200


def test_token_requests_are_limited_per_address(client: Any, ada: User, settings: Settings) -> None:
    settings.SIGN_INS_PER_MINUTE = 2
    wrong = {"username": "ada", "password": "guess"}
    # Whoever writes the header himself is not believed.
    codes = [
        client.post(
            TOKEN, wrong, "application/json", headers={"X-Forwarded-For": f"10.0.0.{n}"}
        ).status_code
        for n in range(3)
    ]
    assert codes == [401, 401, 429]
    # One door more is no more tries, and the right password is not looked at either.
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == "/login?next=/admin/"
    refused = client.post("/login", {"username": "ada", "password": "ada-secret-1"})
    assert (refused.status_code, refused["Retry-After"]) == (429, "45")
    assert "Too many sign-in attempts" in refused.content.decode()
    assert "sessionid" not in client.cookies


@pytest.mark.django_db
def test_processes_share_one_limit() -> None:
    here, there = BatchedRateLimiter(), BatchedRateLimiter()
    granted = [
        limiter.acquire("user:1", 100).granted for _ in range(60) for limiter in (here, there)
    ]
    assert granted.count(True) == 100
    assert granted[:100] == [True] * 100


@pytest.mark.django_db
def test_most_rate_limit_checks_need_no_query(django_assert_num_queries: Any) -> None:
    here = BatchedRateLimiter()
    here.acquire("user:1", 6000)
    with django_assert_num_queries(0):
        for _ in range(119):
            assert here.acquire("user:1", 6000).granted
    with django_assert_num_queries(2):
        here.acquire("user:1", 6000)


@pytest.mark.django_db
def test_exhausted_limit_needs_no_query(django_assert_num_queries: Any) -> None:
    here = BatchedRateLimiter()
    assert [here.acquire("user:1", 2).granted for _ in range(3)] == [True, True, False]
    with django_assert_num_queries(0):
        assert not here.acquire("user:1", 2).granted


@pytest.mark.django_db
def test_old_rate_limit_rows_are_deleted(clock: list[float]) -> None:
    here = BatchedRateLimiter()
    here.acquire("address:10.0.0.1", 5)
    clock[0] += 2 * 3600
    here.acquire("address:10.0.0.2", 5)
    assert [allowance.who for allowance in Allowance.objects.all()] == ["address:10.0.0.2"]


def test_each_response_has_rate_limit_headers(api: APIClient) -> None:
    assert re.fullmatch(r'"user";r=\d+;t=\d+', api.get(JOBS)["RateLimit"])


def test_limit_is_per_client_address_behind_a_proxy(
    client: Any, ada: User, settings: Settings
) -> None:
    settings.SIGN_INS_PER_MINUTE, settings.PROXIES = 1, 1
    wrong = {"username": "ada", "password": "guess"}
    # The proxy writes behind whatever the client has written.
    sent = [f"1.2.3.4, 10.0.0.{n}" for n in (1, 2, 1)]
    codes = [
        client.post(
            TOKEN, wrong, "application/json", headers={"X-Forwarded-For": address}
        ).status_code
        for address in sent
    ]
    assert codes == [401, 401, 429]
    refused = AuditEntry.objects.filter(action="sign in refused").order_by("pk")
    assert [row.address for row in refused] == ["10.0.0.1", "10.0.0.2"]


def test_addresses_of_one_ipv6_network_share_the_limit(
    client: Any, ada: User, settings: Settings
) -> None:
    settings.SIGN_INS_PER_MINUTE, settings.PROXIES = 3, 1
    wrong = {"username": "ada", "password": "guess"}
    addresses = [*(f"2001:db8:0:1::{n:x}" for n in range(1, 8)), "2001:db8:0:2::1"]
    codes = [
        client.post(
            TOKEN, wrong, "application/json", headers={"X-Forwarded-For": address}
        ).status_code
        for address in addresses
    ]
    assert codes == [401] * 3 + [429] * 4 + [401]


def test_repeated_failures_at_one_account_get_429_with_the_pause(client: Any, ada: User) -> None:
    wrong = {"username": "ada", "password": "guess"}
    answers = [client.post(TOKEN, wrong, "application/json") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 6 + [429]
    assert answers[-1]["Retry-After"] == "1"
    assert "Too many failed sign-ins for this account" in answers[-1].json()["detail"]
    page = client.post("/login", {"username": "ada", "password": "ada-secret-1"})
    assert (page.status_code, page["Retry-After"]) == (429, "1")
    assert b"Too many failed sign-ins for this account" in page.content


def test_pages_count_toward_the_limit_of_the_user(page: Any, ada: User, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE = 3
    codes = [page.get("/jobs").status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    assert page.get(JOBS).status_code == 429


def test_name_of_a_failed_sign_in_is_not_stored(client: Any, ada: User) -> None:
    for name in ("ada", "my secret password"):
        client.post("/login", {"username": name, "password": "guess"})
    refused = AuditEntry.objects.filter(action="sign in refused").order_by("pk")
    assert [row.target for row in refused] == ["ada", "unknown name"]
    assert "my secret" not in str(list(AuditEntry.objects.values()))
