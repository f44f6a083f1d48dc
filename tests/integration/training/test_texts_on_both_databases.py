"""The rule for texts over HTTP: SQLite and PostgreSQL give the same response."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from tests.stack import Stack

API = "/api/v1/training"
pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(240),
]
NOT_ALLOWED = ["a\0b", "a\x1bb", "a\u202eb", "\u200b"]


@pytest.fixture(params=["embedded", "stack"])
def installation(request: pytest.FixtureRequest) -> Stack:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Stack)
    return found


def client(installation: Stack) -> httpx.Client:
    """Pages too: their URLs are checked before the sign-in."""
    headers = installation.api().headers
    return httpx.Client(base_url=installation.url, headers=headers, timeout=60)


def test_both_databases_store_and_refuse_the_same_texts(installation: Stack) -> None:
    name = f"Mu\u0308nchen {uuid4().hex}"
    with client(installation) as api:
        for refused in NOT_ALLOWED:
            for body in ({"name": refused}, {"name": "x", "tags": [refused]}, {"project": refused}):
                assert api.post(f"{API}/reports", json=body).status_code == 400, ascii(body)
            assert api.post(f"{API}/projects", json={"name": refused}).status_code == 400
        for config in ({"x": "a\0"}, {"a\0": 1}, {"x": [[["\x1b"]]]}):
            assert api.post(f"{API}/reports", json={"config": config}).status_code == 400
        made = api.post(f"{API}/reports", json={"name": name}).json()
        assert made["name"] == name.replace("u\u0308", "\u00fc")
        for spelling in (name, made["name"]):
            found = api.get(f"{API}/jobs", params={"search": spelling}).json()["results"]
            assert [job["id"] for job in found] == [made["id"]]
        ended = {"status": "failed", "error_message": "\x1b[1mboom\0"}
        assert api.post(f"{API}/reports/{made['id']}/finish", json=ended).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        f"{API}/jobs?search=%00", f"{API}/jobs?tag=%00", f"{API}/jobs?project=a%00",
        f"{API}/jobs?owner=%00&param.lr=%00", f"{API}/programs/%00", f"{API}/jobs?metric.%00=1",
        "/jobs?search=%00", "/jobs?owner=%00", "/jobs?cursor=%00", "/datasets?page=%00",
    ],
)  # fmt: skip
def test_url_with_an_incomparable_value_is_400_on_both_databases(
    installation: Stack, path: str
) -> None:
    with client(installation) as api:
        assert api.get(path, follow_redirects=False).status_code == 400


def test_number_that_is_too_large_is_400_on_both_databases(installation: Stack) -> None:
    digits = "9" * 5000
    with client(installation) as api:
        job = api.post(f"{API}/reports", json={"name": "x"}).json()["id"]
        for path in (
            f"jobs/{job}/events?after={digits}",
            f"jobs?page_size={digits}",
            f"jobs?metric.loss={digits}",
            f"jobs/{job}/metrics?max_points={digits}",
        ):
            assert api.get(f"{API}/{path}").status_code == 400, path
        deep = "[" * 200_000
        for path in (f"{API}/jobs", f"{API}/reports", "/api/v1/auth/token"):
            answer = api.post(path, content=deep, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 401), path
        assert api.get(f"{API}/jobs?param.epochs={digits}").status_code < 500
