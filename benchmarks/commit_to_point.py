"""From the worker's commit to the drawn point, with 50 watching; beside one that asks each second.

python -m benchmarks.commit_to_point
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from playwright.sync_api import Page

from benchmarks.harness import browser, feed, heimdall, p50_p95, row, signed_in, until
from tests.sockets import frame, open_socket
from tests.stack import Stack

SOCKETS, EPOCHS, RATE = 49, 250, 5
GOAL_P50, GOAL_P95 = 100, 250
# Charts and table are painted in one go: the row says when.
SEEN = """() => {
  window.seen = {};
  const look = () => {
    const epoch = document.querySelector("#epochs tbody tr")?.dataset.epoch;
    if (epoch && !window.seen[epoch]) window.seen[epoch] = (performance.timeOrigin + performance.now()) / 1000;
    requestAnimationFrame(look);
  };
  look();
}"""  # noqa: E501


class Watchers:
    """Sockets in a thread of their own; `seen[epoch]`: when each heard of it."""

    def __init__(self, stack: Stack, job_id: str) -> None:
        self._stack, self._job_id = stack, job_id
        self.seen: dict[int, list[float]] = {}
        self.open = threading.Semaphore(0)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        self._thread.start()
        for _ in range(SOCKETS):
            self.open.acquire()

    def join(self) -> None:
        self._thread.join()

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(SOCKETS)))

    async def _one(self) -> None:
        async with open_socket(self._stack, f"/training/{self._job_id}") as socket:
            await frame(socket)
            self.open.release()
            while True:
                told = await frame(socket, 60)
                if told["event"] == "training:progress":
                    epoch = told["data"]["epoch"]
                    self.seen.setdefault(epoch, []).append(time.time())
                    if epoch == EPOCHS:
                        return


def ask_each_second(stack: Stack, job_id: str, seen: dict[int, float], over: Any) -> None:
    """As pages do that know no push: what is drawn at each second is what is there then."""
    with stack.api() as api:
        while not over.wait(1):
            epoch = api.get(f"/jobs/{job_id}").json()["current_epoch"]
            for known in range(max(seen, default=0) + 1, epoch + 1):
                seen[known] = time.time()


def run(stack: Stack, page: Page) -> dict[str, list[float]]:
    job_id = stack.submit(epochs=EPOCHS, patience=EPOCHS, name="Watched by fifty")
    page.goto(f"{stack.url}/jobs/{job_id}")
    page.wait_for_selector("#live[data-state=live]")
    page.evaluate(SEEN)
    sockets, asked, over = Watchers(stack, job_id), dict[int, float](), threading.Event()
    poller = threading.Thread(target=ask_each_second, args=(stack, job_id, asked, over))
    poller.start()
    feeding = feed(stack, job_id, EPOCHS, RATE)
    assert feeding.stdout is not None
    committed = {int(e): float(t) for e, t in (line.split() for line in feeding.stdout)}
    sockets.join()
    until(page, f"window.seen[{EPOCHS}]")
    over.set()
    poller.join()
    drawn = {int(epoch): at for epoch, at in page.evaluate("window.seen").items()}
    return {
        "drawn on the page": [drawn[e] - committed[e] for e in committed if e in drawn],
        "heard by 49 sockets": [at - committed[e] for e in committed for at in sockets.seen[e]],
        "asking each second": [asked[e] - committed[e] for e in committed if e in asked],
    }


def main() -> None:
    with heimdall() as stack, browser() as chromium:
        found = run(stack, signed_in(chromium, stack))
    reference = p50_p95(found["asking each second"])
    row(f"ms, {EPOCHS} epochs at {RATE}/s", "p50", "p95", "times sooner", "seen")
    for name, seconds in found.items():
        p50, p95 = p50_p95(seconds)
        row(name, f"{1000 * p50:.0f}", f"{1000 * p95:.0f}", f"{reference[0] / p50:.1f}",
            len(seconds))  # fmt: skip
    row("goal, on the page", GOAL_P50, GOAL_P95)


if __name__ == "__main__":
    main()
