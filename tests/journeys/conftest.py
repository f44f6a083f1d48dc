"""A browser per module, pages of signed-in users, and a check of the browser's console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.stack import PASSWORD, Stack

# Marks of all journeys, which share one embedded stack unless they mark another.
JOURNEY = [pytest.mark.browser, pytest.mark.xdist_group("embedded"), pytest.mark.timeout(180)]
PATIENCE = 90_000  # ms
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
# Connection errors in the console are expected: journeys cause them.
CONNECTION_ERRORS = re.compile(
    r"WebSocket|ERR_CONNECTION|ERR_INTERNET|Failed to fetch|503|ERR_FAILED"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Not session-wide: its running event loop would prevent asyncio tests.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


# Storage state by server and user, so that each signs in once.
_signed_in: dict[tuple[str, str], Any] = {}


@contextmanager
def person(
    browser: Browser, stack: Stack, who: str = "ada", expected: str = "^$", **context: Any
) -> Iterator[Page]:
    """A page of a signed-in user; `expected` matches errors that its console may show."""
    size = {"width": 1280, "height": 800}
    known = _signed_in.get((stack.url, who))
    opened = browser.new_context(**{"viewport": size, "storage_state": known, **context})
    page = opened.new_page()
    page.set_default_timeout(20_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console", lambda message: faults.append(message.text) if message.type == "error" else None
    )
    page.goto(f"{stack.url}/jobs")
    if known is None:
        page.get_by_label("Username").fill(who)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{stack.url}/jobs")
        _signed_in[stack.url, who] = opened.storage_state()
    try:
        yield page
    finally:
        opened.close()
    assert [
        fault
        for fault in faults
        if not re.search(expected, fault) and not CONNECTION_ERRORS.search(fault)
    ] == []


@pytest.fixture
def tab(chromium: Browser, embedded: Stack) -> Iterator[Page]:
    """A page of the user ada."""
    with person(chromium, embedded) as page:
        yield page


@pytest.fixture(scope="session")
def finished(embedded: Stack) -> list[str]:
    """Two completed jobs; the second has a higher learning rate."""
    steps = {"Small step": 0.0001, "Large step": 0.01}
    jobs = [
        embedded.submit(epochs=8, name=name, learning_rate=rate) for name, rate in steps.items()
    ]
    for job_id in jobs:
        embedded.until(job_id, "completed")
    return jobs


# The content of a page without what changes by itself: ages, connection state, batch progress.
CONTENT = """() => {
  const main = document.querySelector("main").cloneNode(true);
  for (const part of main.querySelectorAll("time, #live, #batch, #polite, #heartbeat, #speed, #system, #peak-memory, #disk, script, template, canvas, .notice, .u-over, .reading"))
    part.remove();
  return document.title + " | " + main.textContent.replace(/\\s+/g, "");
}"""  # noqa: E501


def content(page: Page) -> str:
    return str(page.evaluate(CONTENT))
