"""axe-core finds nothing serious on any page, in light or in dark; and what is drawn is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.conftest import person
from tests.stack import Stack

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("embedded"),
    pytest.mark.timeout(180),
]
AXE = Path(__file__).parent / "axe" / "axe.min.js"
# Light is looked at whole; in the dark only the colours differ.
RULES = {"light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
         "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}}}  # fmt: skip
# Where CI keeps what the pages looked like.
PICTURES = os.environ.get("HEIMDALL_PICTURES", "")


def findings(page: Page, scheme: str) -> list[str]:
    """What is serious or worse."""
    page.wait_for_load_state("load")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("rules => axe.run(document, rules)", RULES[scheme])
    return [
        f"{page.url} {one['id']}: {node['target']} {node['html'][:160]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(chromium: Browser, embedded: Stack, scheme: str) -> None:
    done = embedded.submit(epochs=2, name="Done")
    other = embedded.submit(epochs=2, name="Other", learning_rate=0.01)
    for job_id in (done, other):
        embedded.until(job_id, "completed")
    paused = embedded.submit(epochs=5000, patience=5000, name="Paused")
    with embedded.api() as api:
        api.post(f"/jobs/{paused}/pause")
    embedded.until(paused, "paused")
    paths = {
        "jobs": "/jobs", "job": f"/jobs/{done}", "paused": f"/jobs/{paused}",
        "cancel": f"/jobs/{done}/cancel",
        "start": "/jobs/new", "compare": f"/compare?jobs={done},{other}",
        "datasets": "/datasets", "dataset": f"/datasets/{embedded.dataset}", "models": "/models",
        "desk": "/admin/", "desk-jobs": "/admin/training/job/",
        "desk-job": f"/admin/training/job/{done}/change/", "launch": "/admin/training/job/add/",
    }  # fmt: skip
    found: list[str] = []
    with person(chromium, embedded, who="grace", color_scheme=scheme, bypass_csp=True) as tab:
        for name, path in paths.items():
            tab.goto(f"{embedded.url}{path}")
            found += findings(tab, scheme)
            if PICTURES:
                tab.screenshot(path=f"{PICTURES}/{name}-{scheme}.png", full_page=True)
    assert found == []
