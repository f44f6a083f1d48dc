"""A worker is killed under an open page: how soon does the page say so, and when is it lost?

python -m benchmarks.lost_worker
"""

from __future__ import annotations

import os
import signal
import time

from playwright.sync_api import Page

from benchmarks.harness import browser, heimdall, row, signed_in, until
from tests.stack import SMALL

LEASE_SECONDS = 12  # the default
GOAL_SECONDS = 15
PILL = "document.querySelector('#pill').innerText"


def seconds_until(page: Page, word: str, since: float) -> str:
    until(page, f"{PILL} === '{word}'", 60)
    return f"{time.monotonic() - since:.1f}"


def main() -> None:
    with heimdall(LEASE_SECONDS) as stack, browser() as chromium:
        worker = stack.start_worker()
        job_id = stack.submit(epochs=50_000, patience=50_000, **SMALL)
        page = signed_in(chromium, stack)
        page.goto(f"{stack.url}/jobs/{job_id}")
        until(page, "document.querySelectorAll('#epochs tbody tr').length > 3", 90)
        stack.start_worker()  # it will find that the other is gone
        time.sleep(5)
        os.killpg(worker.pid, signal.SIGKILL)
        killed = time.monotonic()
        row("s after the kill", "the page says", "goal")
        row("no heartbeat, which worker", seconds_until(page, "No heartbeat", killed), GOAL_SECONDS)
        until(page, f"{PILL} !== 'No heartbeat'", 60)
        row("lost, with the cause", f"{time.monotonic() - killed:.1f}", GOAL_SECONDS)
        page.wait_for_timeout(500)
        print(page.locator("#timeline li", has_text="Interrupted").first.inner_text())


if __name__ == "__main__":
    main()
