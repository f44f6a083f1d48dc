"""Accuracy of the remaining time shown on the page of a real training.

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

# As in the demo: an epoch takes longer than writing its checkpoint.
SAMPLES, EPOCHS = 6000, 120
GOAL = 0.10
# Below this the error is dominated by rounding to whole seconds.
SHORT_SECONDS = 10
UNITS = {"s": 1, "min": 60, "h": 3600}


def parse_seconds(text: str) -> float | None:
    """`Epoch 12 of 60, 20 %, about 1 min 5 s left` -> 65."""
    found = re.search(r"about (.+) left", text)
    if not found:
        return None
    return sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+) (s|min|h)\b", found[1]))


def watch(page: Page) -> list[tuple[float, int, float]]:
    """Time, epoch and shown seconds until the job is completed."""
    samples = []
    while page.locator("#pill").inner_text() != "Completed":
        text = page.locator("#progress").inner_text()
        left = parse_seconds(text)
        if left is not None:
            samples.append((time.time(), int(text.split()[1].replace(",", "")), left))
        page.wait_for_timeout(250)
    return samples


def epoch_ends(stack: Stack, job_id: str) -> list[float]:
    """The times when the epochs were committed."""
    epochs = (event for event in stack.events(job_id) if event["data"].get("is_best") is False)
    return [datetime.fromisoformat(event["timestamp"]).timestamp() for event in epochs]


def drift(ends: list[float]) -> str:
    """Seconds per epoch over time; no estimate can foresee that the machine slows down."""
    seconds = [after - before for before, after in pairwise(ends)]
    tenths = [mean(seconds[n : n + EPOCHS // 10]) for n in range(0, len(seconds), EPOCHS // 10)]
    return "s/epoch, by tenths: " + " ".join(f"{value:.2f}" for value in tenths)


def main() -> None:
    with heimdall() as stack, browser() as chromium:
        stack.start_worker()
        with stack.api() as api:
            created = api.post(
                "/datasets/generate", json={"name": "As the demo", "samples": SAMPLES}
            )
        stack.until(created.json()["id"], "completed")
        settings = {"dataset_id": created.json()["dataset_id"], "batch_size": 64, "hidden": 128}
        job_id = stack.submit(epochs=EPOCHS, patience=EPOCHS, name="How long?", **settings)
        page = signed_in(chromium, stack)
        page.goto(f"{stack.url}/jobs/{job_id}")
        samples, ends = watch(page), epoch_ends(stack, job_id)
    end = ends[-1]
    row("error, %", "p50", "p90", "max", "within the goal", "samples")
    for label, first in (("from the first epoch", 1), ("after a fifth", EPOCHS // 5)):
        errors = [
            abs(left - (end - at)) / (end - at)
            for at, epoch, left in samples
            if epoch >= first and end - at >= SHORT_SECONDS
        ]
        tenths = quantiles(errors, n=10, method="inclusive")
        within = sum(error <= GOAL for error in errors) / len(errors)
        fractions = tenths[4], tenths[8], max(errors), within
        row(label, *(f"{100 * fraction:.1f}" for fraction in fractions),
            len(errors))  # fmt: skip
    last = [abs(left - (end - at)) for at, _, left in samples if 0 < end - at < SHORT_SECONDS]
    row("goal", "", "", f"{100 * GOAL:.0f}")
    print(drift(ends))
    print(f"Maximum error in the last {SHORT_SECONDS} s: {max(last):.1f} s")


if __name__ == "__main__":
    main()
