"""A sweep from the form to the best trial, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import person
from tests.journeys.test_accessibility import findings
from tests.stack import Stack

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("embedded"),
    pytest.mark.timeout(240),
]
PATIENCE = 120_000  # ms
SMALL = {"base_epochs": "6", "base_hidden": "16", "base_heads": "2", "base_layers": "1"}


def start(tab: Page, name: str) -> None:
    tab.get_by_role("link", name="Sweeps").click()
    tab.get_by_role("link", name="New sweep").first.click()
    tab.locator("#id_name").fill(name)
    tab.locator("#id_dataset").select_option(label="Small")
    tab.locator("#id_method").select_option("grid")
    tab.locator("#id_vary_learning_rate").fill("0.01, 0.003, 0.001")
    tab.locator("summary").click()
    for field, value in SMALL.items():
        tab.locator(f"#id_{field}").fill(value)
    tab.get_by_role("button", name="Start sweep").click()
    expect(tab.locator("h1")).to_have_text(name)


def test_sweep_page_shows_trials_live(tab: Page) -> None:
    start(tab, "Rates")
    # Without a reload: updates arrive over the WebSocket.
    tab.evaluate("window.untouched = true")
    expect(tab.locator("#trials tbody tr")).to_have_count(3, timeout=PATIENCE)
    expect(tab.locator("#curves canvas")).to_be_visible(timeout=PATIENCE)
    expect(tab.locator("#state")).to_have_text("Completed", timeout=PATIENCE)
    expect(tab.locator("#trials tr.best .winner")).to_have_count(1)
    expect(tab.locator("#going")).to_contain_text("3 of 3 trials finished")
    tab.keyboard.press("l")
    assert tab.evaluate("localStorage['heimdall.log.sweep']") == "1"
    assert tab.evaluate("window.untouched")
    tab.get_by_role("link", name="Compare these").click()
    expect(tab.locator("#table")).to_contain_text("Learning rate")


def test_sweep_starts_and_cancels_without_javascript(chromium: Browser, embedded: Stack) -> None:
    with person(chromium, embedded, java_script_enabled=False) as tab:
        start(tab, "Plain sweep")
        expect(tab.locator("#trials tbody tr")).not_to_have_count(0)
        tab.get_by_role("link", name="Cancel").click()
        tab.get_by_role("button", name="Cancel sweep").click()
        expect(tab.locator("#state")).to_have_text(re.compile("Cancelled|Completed"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sweep_pages_have_no_accessibility_violations(
    chromium: Browser, embedded: Stack, scheme: str
) -> None:
    with person(chromium, embedded, color_scheme=scheme, bypass_csp=True) as tab:
        start(tab, f"For everyone, {scheme}")
        found = findings(tab, scheme)
        for path in ("/sweeps", "/sweeps/new"):
            tab.goto(f"{embedded.url}{path}")
            found += findings(tab, scheme)
        tab.set_viewport_size({"width": 390, "height": 800})
        wide = tab.evaluate("document.documentElement.scrollWidth")
    assert found == []
    assert wide <= 390
