"""The time left that a page shows, beside the time that was then left: a real training, watched.

python -m benchmarks.time_left
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from itertools import pairwise
from statistics import mean, quantiles

from playwright.sync_api import Page

from benchmarks.harness import browser, heimdall, row, signed_in
from tests.stack import Stack

# As the demo: an epoch is then more than the writing of its checkpoint.
SAMPLES, EPOCHS = 6000, 120
GOAL = 0.10
# Below this the rounding to whole seconds is all that one sees.
SHORT_SECONDS = 10
UNITS = {"s": 1, "min": 60, "h": 3600}


def said_seconds(words: str) -> float | None:
    """`Epoch 12 of 60, 20 %, about 1 min 5 s left` -> 65."""
    found = re.search(r"about (.+) left", words)
    if not found:
        return None
    return sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+) (s|min|h)\b", found[1]))


def watch(page: Page) -> list[tuple[float, int, float]]:
    """When, in which epoch, and how many seconds the page said are left; to the end."""
    seen = []
    while page.locator("#pill").inner_text() != "Completed":
        words = page.locator("#progress").inner_text()
        left = said_seconds(words)
        if left is not None:
            seen.append((time.time(), int(words.split()[1].replace(",", "")), left))
        page.wait_for_timeout(250)
    return seen


def epoch_ends(stack: Stack, job_id: str) -> list[float]:
    """When each epoch was committed."""
    told = (one for one in stack.events(job_id) if one["data"].get("is_best") is False)
    return [datetime.fromisoformat(one["timestamp"]).timestamp() for one in told]


def drift(ends: list[float]) -> str:
    """How even the machine was: no reckoning foresees that it will be slower."""
    took = [after - before for before, after in pairwise(ends)]
    tenths = [mean(took[n : n + EPOCHS // 10]) for n in range(0, len(took), EPOCHS // 10)]
    return "s an epoch, by tenths: " + " ".join(f"{one:.2f}" for one in tenths)


def main() -> None:
    with heimdall() as stack, browser() as chromium:
        stack.start_worker()
        with stack.api() as api:
            made = api.post("/datasets/generate", json={"name": "As the demo", "samples": SAMPLES})
        stack.until(made.json()["id"], "completed")
        settings = {"dataset_id": made.json()["dataset_id"], "batch_size": 64, "hidden": 128}
        job_id = stack.submit(epochs=EPOCHS, patience=EPOCHS, name="How long?", **settings)
        page = signed_in(chromium, stack)
        page.goto(f"{stack.url}/jobs/{job_id}")
        seen, ends = watch(page), epoch_ends(stack, job_id)
    end = ends[-1]
    row("off by, %", "p50", "p90", "most", "within the goal", "seen")
    for said, first in (("from the first epoch", 1), ("after a fifth", EPOCHS // 5)):
        off = [
            abs(left - (end - at)) / (end - at)
            for at, epoch, left in seen
            if epoch >= first and end - at >= SHORT_SECONDS
        ]
        tenths = quantiles(off, n=10, method="inclusive")
        within = sum(one <= GOAL for one in off) / len(off)
        row(said, *(f"{100 * one:.1f}" for one in (tenths[4], tenths[8], max(off), within)),
            len(off))  # fmt: skip
    late = [abs(left - (end - at)) for at, _, left in seen if 0 < end - at < SHORT_SECONDS]
    row("goal", "", "", f"{100 * GOAL:.0f}")
    print(f"The epochs themselves: {drift(ends)}")
    print(f"In the last {SHORT_SECONDS} s off by {max(late):.1f} s at most.")


if __name__ == "__main__":
    main()
