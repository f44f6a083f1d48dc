"""The example configurations of nginx and Caddy for a base path, in front of an installation."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.journeys.conftest import PATIENCE
from tests.polling import eventually
from tests.stack import PASSWORD, Stack, running_stack

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
DEPLOY = Path(__file__).parents[2] / "deploy"
pytestmark = pytest.mark.timeout(180)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("nginx")
    with running_stack(folder, HEIMDALL_BASE_PATH="/heimdall", HEIMDALL_PROXIES="1") as running:
        yield running


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """Write the configuration; return the command."""
    # From nginx.conf: the map of the header Upgrade.
    mapping = re.search(
        r"^map .*?^\}", (DEPLOY / "nginx.conf").read_text(), re.MULTILINE | re.DOTALL
    )
    assert mapping
    locations = (DEPLOY / "nginx-base-path.conf").read_text().replace("$host;", "$http_host;")
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{\n"
        f"access_log off;\n{paths}{mapping[0]}\n"
        f"upstream heimdall {{ server 127.0.0.1:{upstream}; }}\n"
        f"server {{ listen 127.0.0.1:{port};\n{locations}\n}}\n}}\n"
    )
    assert NGINX
    return [NGINX, "-c", str(config), "-p", str(folder)]


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    """Write the configuration; return the command."""
    example = (DEPLOY / "Caddyfile-base-path").read_text()
    here = (
        example.replace("127.0.0.1:8001", f"127.0.0.1:{upstream}")
        .replace("example.org {", f"http://127.0.0.1:{port} {{", 1)
        .replace("Host example.org", "Host 127.0.0.1")
    )
    config = folder / "Caddyfile"
    config.write_text(f"{{\n\tadmin off\n}}\n{here}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


PROXIES = {"nginx": nginx, "caddy": caddy}
PROGRAMS = {"nginx": NGINX, "caddy": shutil.which("caddy")}


@pytest.fixture(scope="module", params=PROXIES)
def site(stack: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a proxy that serves Heimdall below /heimdall/ and nothing else."""
    name = request.param
    if not PROGRAMS[name]:
        pytest.skip(f"needs {name}")
    port, folder = free_port(), stack.folder / name
    folder.mkdir()
    command = PROXIES[name](folder, port, stack.port)
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with subprocess.Popen(command, env=environment) as server:
        try:
            url = f"http://127.0.0.1:{port}"

            def answers() -> bool:
                try:
                    return httpx.get(f"{url}/heimdall/healthz").text == "ok"
                except httpx.HTTPError:
                    return False

            eventually(answers, message=f"{name} does not answer")
            yield url
        finally:
            server.terminate()


@pytest.mark.browser
def test_job_page_is_live_behind_a_proxy(chromium: Browser, stack: Stack, site: str) -> None:
    job = stack.submit(epochs=8, name="Behind a proxy")
    context = chromium.new_context()
    tab, failed = context.new_page(), list[str]()
    tab.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    tab.goto(f"{site}/heimdall")
    tab.get_by_label("Username").fill("ada")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url(f"{site}/heimdall/jobs")
    with tab.expect_websocket(lambda socket: "/heimdall/ws/training/" in socket.url):
        tab.goto(f"{site}/heimdall/jobs/{job}")
    expect(tab.get_by_text("Completed").first).to_be_visible(timeout=PATIENCE)
    tab.locator("#disk").wait_for()
    assert [url for url in failed if "favicon" not in url] == []
    assert {cookie["path"] for cookie in context.cookies()} <= {"/heimdall"}
    context.close()


def test_nginx_hides_metrics_and_streams_events(stack: Stack, site: str) -> None:
    for path in ("metrics", "readyz"):
        assert httpx.get(f"{site}/heimdall/{path}").status_code == 404
    headers = {"Authorization": f"Bearer {stack.tokens['ada']}"}
    job, _ = stack.submit(epochs=1), stack.submit(epochs=1)
    url = f"{site}/heimdall/api/v1/training/jobs/{job}/events/stream"
    with httpx.stream("GET", url, headers=headers, timeout=20) as stream:
        assert next(line for line in stream.iter_lines() if line.startswith("data: {"))
    listed = httpx.get(f"{site}/heimdall/api/v1/training/jobs?page_size=1", headers=headers)
    assert listed.json()["next"].startswith(f"{site}/heimdall/api/v1/training/jobs?")
