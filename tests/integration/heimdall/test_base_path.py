"""An installation below a path, as a browser, a script and a probe see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import connect

from heimdall_sdk.api_client import ApiClient
from tests.stack import PASSWORD, Stack, running_stack

BASE = "/tools/heimdall"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("base-path")
    with running_stack(folder, HEIMDALL_BASE_PATH=BASE) as running:
        yield running


@pytest.fixture
def browser(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=20) as client:
        page = client.get(f"{BASE}/login")
        token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[0]
        form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token}
        answer = client.post(f"{BASE}/login", data=form)
        assert (answer.status_code, answer.headers["location"]) == (302, f"{BASE}/jobs")
        yield client


def test_every_link_of_a_page_is_below_the_path(stack: Stack, browser: httpx.Client) -> None:
    for page in ("jobs", "jobs/new", "datasets", "sweeps", "models", "projects", "api/v1/docs"):
        answer = browser.get(f"{BASE}/{page}")
        assert answer.status_code == 200, page
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', answer.text)
        assert links and [link for link in links if not link.startswith(f"{BASE}/")] == [], page


def test_static_files_and_the_modules_they_import_are_found(browser: httpx.Client) -> None:
    page = browser.get(f"{BASE}/jobs").text
    scripts = re.findall(r'src="([^"]+\.js)"', page)
    for script in scripts:
        source = browser.get(script)
        assert source.status_code == 200, script
        for module in re.findall(r'from\s*"\./([^"]+)"', source.text):
            path = f"{script.rpartition('/')[0]}/{module}"
            assert browser.get(path).status_code == 200, path
    assert scripts


def test_cookies_and_redirects_keep_the_path(stack: Stack, browser: httpx.Client) -> None:
    assert {cookie.path for cookie in browser.cookies.jar} == {BASE}
    with httpx.Client(base_url=stack.url) as stranger:
        assert stranger.get(f"{BASE}/jobs").headers["location"] == f"{BASE}/login?next={BASE}/jobs"
        assert stranger.get(f"{BASE}").headers["location"] == f"{BASE}/jobs"
        assert stranger.get(f"{BASE}/admin/").headers["location"].startswith(f"{BASE}/")
    assert browser.get(f"{BASE}/login").headers["location"] == f"{BASE}/jobs"


def test_api_links_lead_back_through_the_path(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.tokens['ada']}"}
    with httpx.Client(base_url=f"{stack.url}{BASE}/api/v1/training", headers=headers) as api:
        body = {"dataset_id": stack.dataset, "epochs": 1}
        jobs = [api.post("/jobs", json=body).json()["id"] for _ in range(2)]
        following = api.get("/jobs", params={"page_size": 1}).json()["next"]
        assert urlsplit(following).path == f"{BASE}/api/v1/training/jobs"
        assert api.get(following).json()["results"][0]["id"] in jobs
        missing = api.get(f"{stack.url}{BASE}/api/v1/nothing")
        assert missing.headers["content-type"] == "application/problem+json"
        assert f"{BASE}/api/v1/docs" in missing.json()["detail"]
        with api.stream("GET", f"/jobs/{jobs[0]}/events/stream") as events:
            assert next(line for line in events.iter_lines() if line.startswith("data: {"))


def test_sockets_connect_below_the_path(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.tokens['ada']}"}
    url = stack.url.replace("http", "ws", 1)
    for path in (f"{BASE}/ws", "/ws"):
        with connect(f"{url}{path}", additional_headers=headers) as socket:
            assert json.loads(socket.recv(10))["event"] == "connected"


def test_sdk_and_command_use_the_whole_url(stack: Stack) -> None:
    with closing(ApiClient(f"{stack.url}{BASE}/", stack.tokens["ada"])) as client:
        assert client.get("/datasets")["results"][0]["id"] == stack.dataset


def test_proxy_may_remove_the_prefix_and_health_checks_need_none(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path).status_code == client.get(f"{BASE}{path}").status_code == 200
        assert client.get("/jobs").headers["location"] == f"{BASE}/login?next={BASE}/jobs"


def test_start_prints_the_url_with_the_path(stack: Stack) -> None:
    log: Path = min(stack.folder.glob("web-*.log"))
    assert f"Serving on {stack.url}{BASE}\n" in log.read_text()


def test_root_path_of_a_client_changes_no_link(stack: Stack) -> None:
    for value in ("/%2Fevil.example", "caf\u00e9"):
        headers = {"Daphne-Root-Path": value.encode("latin-1")}
        with httpx.Client(base_url=stack.url, headers=headers) as client:  # type: ignore[arg-type]
            assert client.get(f"{BASE}/jobs").headers["location"].startswith(f"{BASE}/login?")
