"""Every page, wide and narrow, in light and in dark: axe-core finds nothing serious, all fits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.conftest import JOURNEY, person
from tests.polling import eventually
from tests.stack import Stack

pytestmark = JOURNEY
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
# Light is looked at whole; in the dark only the colours differ.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
RULES = {
    "light": {"runOnly": TAGS, "resultTypes": ["violations"]},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]},
             "resultTypes": ["violations"]},
}  # fmt: skip
SIZES = {1280: 800, 390: 844}
# Where CI keeps what the pages looked like.
PICTURES = os.environ.get("HEIMDALL_PICTURES", "")
PAGES = {
    "jobs": "/jobs", "no-job": "/jobs?search=nothing-is-called-so", "job": "/jobs/{done}",
    "paused": "/jobs/{paused}", "failed": "/jobs/{failed}", "cancel": "/jobs/{paused}/cancel",
    "edit": "/jobs/{done}/edit",
    "epochs": "/jobs/{done}/epochs", "start": "/jobs/new", "clone": "/jobs/new?like={done}",
    "compare": "/compare?jobs={done},{other}&baseline={done}", "datasets": "/datasets",
    "dataset": "/datasets/{dataset}", "models": "/models", "model": "/models/{model}",
    "missing": "/jobs/00000000-0000-0000-0000-000000000000", "admin": "/admin/",
    "admin-jobs": "/admin/training/job/", "admin-job": "/admin/training/job/{done}/change/",
    "admin-new-job": "/admin/training/job/add/", "admin-workers": "/admin/training/worker/",
}  # fmt: skip


@pytest.fixture(scope="module")
def ids(embedded: Stack, finished: list[str]) -> dict[str, str]:
    """A job in every state that lasts, a dataset, a model."""
    paused, failed = jobs = [
        embedded.submit(epochs=5000, patience=5000, name=f"A name at length of one that {word}")
        for word in ("rests", "failed")
    ]
    with embedded.api() as api:
        for job_id in jobs:
            eventually(lambda job_id=job_id: embedded.job(job_id)["current_epoch"])
            api.post(f"/jobs/{job_id}/pause")
            embedded.until(job_id, "paused")
        for checkpoint in (embedded.folder / "jobs" / failed).rglob("*.safetensors"):
            checkpoint.write_bytes(b"damaged")
        api.post(f"/jobs/{failed}/resume")
        eventually(lambda: embedded.job(failed)["status"] == "failed")
        model = api.get("/models").json()["results"][0]["id"]
    return {"done": finished[0], "other": finished[1], "paused": paused, "failed": failed,
            "dataset": embedded.dataset, "model": model}  # fmt: skip


@pytest.fixture(scope="module")
def everyone(chromium: Browser, embedded: Stack) -> Iterator[Page]:
    """An operator's tab, where no colour is on its way; the pages' policy lets axe in."""
    still: dict[str, Any] = {"bypass_csp": True, "reduced_motion": "reduce"}
    with person(chromium, embedded, who="grace", expected="404", **still) as tab:
        yield tab


def findings(page: Page, scheme: str) -> list[str]:
    """What is serious or worse."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("rules => axe.run(document, rules)", RULES[scheme])
    return [
        f"{one['id']}: {node['target']} {node['html'][:160]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def look(tab: Page, url: str, name: str) -> list[str]:
    """What is wrong with the page in any size and colour."""
    tab.goto(url)
    wrong = []
    for width, height in SIZES.items():
        tab.set_viewport_size({"width": width, "height": height})
        reach = tab.evaluate("document.documentElement.scrollWidth")
        if reach > width:
            wrong.append(f"{width}: it is {reach} wide")
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            wrong += [f"{width} {scheme}: {one}" for one in findings(tab, scheme)]
            if PICTURES:
                tab.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png", full_page=True)
    return wrong


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_accessibility_violations(
    everyone: Page, embedded: Stack, ids: dict[str, str], name: str
) -> None:
    assert look(everyone, embedded.url + PAGES[name].format(**ids), name) == []


def test_live_job_page_has_no_accessibility_violations(everyone: Page, embedded: Stack) -> None:
    job_id = embedded.submit(epochs=5000, patience=5000, name="Running")
    eventually(lambda: embedded.job(job_id)["current_epoch"])
    found = look(everyone, f"{embedded.url}/jobs/{job_id}", "running")
    with embedded.api() as api:
        api.post(f"/jobs/{job_id}/cancel")
    assert found == []


def test_sign_in_page_has_no_accessibility_violations(chromium: Browser, embedded: Stack) -> None:
    page = chromium.new_context(bypass_csp=True, reduced_motion="reduce").new_page()
    found = look(page, f"{embedded.url}/login", "login")
    page.context.close()
    assert found == []
