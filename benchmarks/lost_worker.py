"""A worker is killed while a page is open: time until the page shows it and the job is requeued.

python -m benchmarks.lost_worker
"""

from __future__ import annotations

import os
import signal
import time

from playwright.sync_api import Page

from benchmarks.harness import browser, heimdall, row, signed_in, until

LEASE_SECONDS = 12  # the default
GOAL_SECONDS = 15
PILL = "document.querySelector('#pill').innerText"


def seconds_until(page: Page, label: str, since: float) -> str:
    until(page, f"{PILL} === '{label}'", 60)
    return f"{time.monotonic() - since:.1f}"


def main() -> None:
    with heimdall(LEASE_SECONDS) as stack, browser() as chromium:
        worker = stack.start_worker()
        job_id = stack.submit(epochs=50_000, patience=50_000)
        page = signed_in(chromium, stack)
        page.goto(f"{stack.url}/jobs/{job_id}")
        until(page, "document.querySelectorAll('#epochs tbody tr').length > 3", 90)
        stack.start_worker()  # it will detect the loss of the other one
        time.sleep(5)
        os.killpg(worker.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        row("s after the kill", "page shows", "goal")
        row("no heartbeat", seconds_until(page, "No heartbeat", killed_at), GOAL_SECONDS)
        until(page, f"{PILL} !== 'No heartbeat'", 60)
        row("worker lost", f"{time.monotonic() - killed_at:.1f}", GOAL_SECONDS)
        page.wait_for_timeout(500)
        print(page.locator("#timeline li", has_text="Interrupted").first.inner_text())


if __name__ == "__main__":
    main()
