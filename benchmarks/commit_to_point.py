"""Latency from the worker's commit to the drawn point with 50 clients, compared with polling.

python -m benchmarks.commit_to_point
"""

from __future__ import annotations

import asyncio
import threading
import time

from playwright.sync_api import Page

from benchmarks.harness import browser, heimdall, p50_p95, record_epochs, row, signed_in, until
from tests.sockets import frame, open_socket
from tests.stack import Stack

SOCKETS, EPOCHS, RATE = 49, 250, 5
GOAL_P50, GOAL_P95 = 100, 250
# Charts and table are painted in the same frame, so the time of the table row is measured.
RECORD_ROWS = """() => {
  window.drawnAt = {};
  const check = () => {
    const epoch = document.querySelector("#epochs tbody tr")?.dataset.epoch;
    if (epoch && !window.drawnAt[epoch]) window.drawnAt[epoch] = (performance.timeOrigin + performance.now()) / 1000;
    requestAnimationFrame(check);
  };
  check();
}"""  # noqa: E501


class SocketClients:
    """WebSocket clients in a thread; `received_at[epoch]` has a time for each client."""

    def __init__(self, stack: Stack, job_id: str) -> None:
        self._stack, self._job_id = stack, job_id
        self.received_at: dict[int, list[float]] = {}
        self.connected = threading.Semaphore(0)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run_all()), daemon=True)
        self._thread.start()
        for _ in range(SOCKETS):
            self.connected.acquire()

    def join(self) -> None:
        self._thread.join()

    async def _run_all(self) -> None:
        await asyncio.gather(*(self._run_one() for _ in range(SOCKETS)))

    async def _run_one(self) -> None:
        async with open_socket(self._stack, f"/training/{self._job_id}") as socket:
            await frame(socket)
            self.connected.release()
            while True:
                event = await frame(socket, 60)
                if event["event"] == "training:progress":
                    epoch = event["data"]["epoch"]
                    self.received_at.setdefault(epoch, []).append(time.time())
                    if epoch == EPOCHS:
                        return


def poll_each_second(
    stack: Stack, job_id: str, polled_at: dict[int, float], stop: threading.Event
) -> None:
    """Poll like a page without push."""
    with stack.api() as api:
        while not stop.wait(1):
            newest = api.get(f"/jobs/{job_id}").json()["current_epoch"]
            for epoch in range(max(polled_at, default=0) + 1, newest + 1):
                polled_at[epoch] = time.time()


def run(stack: Stack, page: Page) -> dict[str, list[float]]:
    job_id = stack.submit(epochs=EPOCHS, patience=EPOCHS, name="50 clients")
    page.goto(f"{stack.url}/jobs/{job_id}")
    page.wait_for_selector("#live[data-state=live]")
    page.evaluate(RECORD_ROWS)
    sockets, polled_at, stop = SocketClients(stack, job_id), dict[int, float](), threading.Event()
    poller = threading.Thread(target=poll_each_second, args=(stack, job_id, polled_at, stop))
    poller.start()
    worker = record_epochs(stack, job_id, EPOCHS, RATE)
    assert worker.stdout is not None
    committed = {int(e): float(t) for e, t in (line.split() for line in worker.stdout)}
    sockets.join()
    until(page, f"window.drawnAt[{EPOCHS}]")
    stop.set()
    poller.join()
    drawn = {int(epoch): at for epoch, at in page.evaluate("window.drawnAt").items()}
    return {
        "drawn on the page": [drawn[e] - committed[e] for e in committed if e in drawn],
        "received by 49 sockets": [
            at - committed[e] for e in committed for at in sockets.received_at[e]
        ],
        "polled each second": [polled_at[e] - committed[e] for e in committed if e in polled_at],
    }


def main() -> None:
    with heimdall() as stack, browser() as chromium:
        found = run(stack, signed_in(chromium, stack))
    reference = p50_p95(found["polled each second"])
    row(f"ms, {EPOCHS} epochs at {RATE}/s", "p50", "p95", "times faster", "samples")
    for name, seconds in found.items():
        p50, p95 = p50_p95(seconds)
        row(name, f"{1000 * p50:.0f}", f"{1000 * p95:.0f}", f"{reference[0] / p50:.1f}",
            len(seconds))  # fmt: skip
    row("goal, on the page", GOAL_P50, GOAL_P95)


if __name__ == "__main__":
    main()
