"""Without JavaScript, every action works and every page is complete."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import JOURNEY, person
from tests.stack import Stack

pytestmark = JOURNEY


def until(tab: Page, word: str) -> None:
    """Reload the page at once instead of waiting for its own reload."""
    for _ in range(120):
        if tab.locator("#pill").inner_text() == word:
            return
        tab.wait_for_timeout(500)
        tab.reload()
    raise AssertionError(f"never {word}")


def test_job_starts_pauses_resumes_and_cancels_without_javascript(
    chromium: Browser, embedded: Stack
) -> None:
    with person(chromium, embedded, java_script_enabled=False) as tab:
        tab.get_by_role("link", name="New job").first.click()
        tab.get_by_label("Dataset").select_option(label="Small")
        for label, value in {"Name": "Plain", "Epochs": "5000", "Patience": "5000",
                             "Width": "16", "Heads": "2"}.items():  # fmt: skip
            tab.get_by_label(label, exact=True).fill(value)
        tab.get_by_role("button", name="Start job").click()
        until(tab, "Running")
        assert tab.locator("noscript meta, meta[http-equiv=refresh]").count()
        for _ in range(60):
            if tab.locator("#error-chart svg path.series-1").count():
                break
            tab.wait_for_timeout(500)
            tab.reload()
        expect(tab.locator("#error-chart svg path.series-1")).to_have_count(1)
        expect(tab.locator("#epochs tbody tr").first).to_be_visible()
        tab.get_by_role("button", name="Pause").click()
        expect(tab.get_by_text("Pause requested.")).to_be_visible()
        until(tab, "Paused")
        tab.get_by_role("button", name="Resume").click()
        until(tab, "Running")
        tab.get_by_role("link", name="Cancel").click()
        expect(tab.locator("h1")).to_have_text("Cancel “Plain”?")
        tab.get_by_role("button", name="Cancel job").click()
        until(tab, "Cancelled")
        tab.get_by_role("link", name="View all epochs").click()
        expect(tab.locator("h1")).to_have_text(re.compile("Epochs of Plain"))
