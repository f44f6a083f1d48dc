"""axe-core finds no serious violation on any page, wide and narrow, light and dark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.conftest import JOURNEY, person
from tests.polling import eventually
from tests.stack import Stack

pytestmark = JOURNEY
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
# All rules in light mode; in dark mode only the colors differ.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
RULES = {
    "light": {"runOnly": TAGS, "resultTypes": ["violations"]},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]},
             "resultTypes": ["violations"]},
}  # fmt: skip
SIZES = {1280: 800, 390: 844}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# The folder in which CI keeps screenshots.
PICTURES = os.environ.get("HEIMDALL_PICTURES", "")
PAGES = {
    "jobs": "/jobs", "no-job": "/jobs?search=nothing-is-called-so", "job": "/jobs/{done}",
    "paused": "/jobs/{paused}", "failed": "/jobs/{failed}", "cancel": "/jobs/{paused}/cancel",
    "edit": "/jobs/{done}/edit",
    "epochs": "/jobs/{done}/epochs", "start": "/jobs/new", "clone": "/jobs/new?like={done}",
    "compare": "/compare?jobs={done},{other}&baseline={done}", "datasets": "/datasets",
    "dataset": "/datasets/{dataset}", "models": "/models", "model": "/models/{model}",
    "import": "/jobs/import",
    "locate": "/models/{model}/locate",
    "missing": "/jobs/00000000-0000-0000-0000-000000000000", "admin": "/admin/",
    "admin-jobs": "/admin/training/job/", "admin-job": "/admin/training/job/{done}/change/",
    "jobs-chosen": "/jobs?trials=all&ordering=-best_result&search=step&columns=param.hidden"
    "&columns=metric.val_loss&columns=duration&metric.val_loss__lt=1e9&project=Default",
    "jobs-wrong": "/jobs?param.hiden=3", "projects": "/projects", "project": "/projects/{project}",
    "new-project": "/projects/new", "edit-project": "/projects/{project}/edit",
    "account": "/account", "delete-user": "/admin/auth/user/1/delete/",
    "delete-project": "/projects/{project}/delete",
    "admin-new-job": "/admin/training/job/add/", "admin-workers": "/admin/training/worker/",
}  # fmt: skip


def current_epoch(stack: Stack, job_id: str) -> int:
    return int(stack.job(job_id)["current_epoch"])


@pytest.fixture(scope="module")
def ids(embedded: Stack, finished: list[str]) -> dict[str, str]:
    """IDs of jobs in every permanent state, of a dataset and of a model."""
    paused, failed = jobs = [
        embedded.submit(epochs=5000, patience=5000, name=f"A name at length of one that {word}")
        for word in ("rests", "failed")
    ]
    with embedded.api() as api:
        for job_id in jobs:
            eventually(partial(current_epoch, embedded, job_id))
            api.post(f"/jobs/{job_id}/pause")
            embedded.until(job_id, "paused")
        for checkpoint in (embedded.folder / "jobs" / failed).rglob("*.safetensors"):
            checkpoint.write_bytes(b"damaged")
        api.post(f"/jobs/{failed}/resume")
        eventually(lambda: embedded.job(failed)["status"] == "failed")
        model = api.get("/models").json()["results"][0]["id"]
        described = {"name": "Radio", "description": "Locates transmitters."}
        project = api.post("/projects", json=described).json()["id"]
    return {"done": finished[0], "other": finished[1], "paused": paused, "failed": failed,
            "dataset": embedded.dataset, "model": model, "project": project}  # fmt: skip


@pytest.fixture(scope="module")
def staff_page(chromium: Browser, embedded: Stack) -> Iterator[Page]:
    """A page of staff without transitions and without CSP, so that axe can run."""
    still: dict[str, Any] = {"bypass_csp": True, "reduced_motion": "reduce"}
    with person(chromium, embedded, who="grace", expected="400|404", **still) as tab:
        yield tab


def findings(page: Page, scheme: str) -> list[str]:
    """Violations that are serious or critical."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("rules => axe.run(document, rules)", RULES[scheme])
    return [
        f"{violation['id']}: {node['target']} {node['html'][:160]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def check_page(tab: Page, url: str, name: str) -> list[str]:
    """Return the problems of the page in each size and color scheme."""
    tab.goto(url)
    problems = []
    for width, height in SIZES.items():
        tab.set_viewport_size({"width": width, "height": height})
        content_width = tab.evaluate("document.documentElement.scrollWidth")
        if content_width > width:
            problems.append(f"{width}: the content is {content_width} wide")
        for scheme in SCHEMES:
            tab.emulate_media(color_scheme=scheme)
            problems += [f"{width} {scheme}: {finding}" for finding in findings(tab, scheme)]
            if PICTURES:
                tab.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png", full_page=True)
    return problems


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_accessibility_violations(
    staff_page: Page, embedded: Stack, ids: dict[str, str], name: str
) -> None:
    assert check_page(staff_page, embedded.url + PAGES[name].format(**ids), name) == []


def test_form_of_a_user_in_the_admin_is_legible(staff_page: Page, embedded: Stack) -> None:
    """Its contrast only: Django's own widgets violate other rules."""
    staff_page.goto(f"{embedded.url}/admin/auth/user/1/change/")
    staff_page.locator(".selector-chosen-title").first.wait_for()
    for scheme in SCHEMES:
        staff_page.emulate_media(color_scheme=scheme)
        assert findings(staff_page, "dark") == [], scheme


def test_live_job_page_has_no_accessibility_violations(staff_page: Page, embedded: Stack) -> None:
    job_id = embedded.submit(epochs=5000, patience=5000, name="Running")
    eventually(lambda: embedded.job(job_id)["current_epoch"])
    found = check_page(staff_page, f"{embedded.url}/jobs/{job_id}", "running")
    with embedded.api() as api:
        api.post(f"/jobs/{job_id}/cancel")
    assert found == []


def test_sign_in_page_has_no_accessibility_violations(chromium: Browser, embedded: Stack) -> None:
    page = chromium.new_context(bypass_csp=True, reduced_motion="reduce").new_page()
    found = check_page(page, f"{embedded.url}/login", "login")
    page.context.close()
    assert found == []
