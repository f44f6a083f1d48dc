"""One browser a module; a tab is a person who has signed in, and nothing may go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.stack import PASSWORD, Stack

# How every journey begins: on the same embedded Heimdall, unless it says otherwise.
JOURNEY = [pytest.mark.browser, pytest.mark.xdist_group("embedded"), pytest.mark.timeout(180)]
PATIENCE = 90_000  # ms
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
# Broken lines are a journey's subject, not its fault.
LINE = re.compile(r"WebSocket|ERR_CONNECTION|ERR_INTERNET|Failed to fetch|503|ERR_FAILED")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Not for the session: it keeps an event loop running, beside which no test of asyncio can.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


# Nobody types a password twice.
_signed_in: dict[tuple[str, str], Any] = {}


@contextmanager
def person(
    browser: Browser, stack: Stack, who: str = "ada", expected: str = "^$", **context: Any
) -> Iterator[Page]:
    """Somebody's tab; `expected`: what the console may say."""
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
        fault for fault in faults if not re.search(expected, fault) and not LINE.search(fault)
    ] == []


@pytest.fixture
def tab(chromium: Browser, embedded: Stack) -> Iterator[Page]:
    """Ada's."""
    with person(chromium, embedded) as page:
        yield page


@pytest.fixture(scope="session")
def finished(embedded: Stack) -> list[str]:
    """Two trainings that completed, of which the second took larger steps."""
    steps = {"Small step": 0.0001, "Large step": 0.01}
    jobs = [
        embedded.submit(epochs=8, name=name, learning_rate=rate) for name, rate in steps.items()
    ]
    for job_id in jobs:
        embedded.until(job_id, "completed")
    return jobs


# What a page says, without what depends on the moment: ages, the line's state, a batch under way.
CONTENT = """() => {
  const main = document.querySelector("main").cloneNode(true);
  for (const part of main.querySelectorAll("time, #live, #batch, #polite, #heartbeat, #speed, script, template, canvas, .notice, .u-over, .reading"))
    part.remove();
  return document.title + " | " + main.textContent.replace(/\\s+/g, "");
}"""  # noqa: E501


def content(page: Page) -> str:
    return str(page.evaluate(CONTENT))
