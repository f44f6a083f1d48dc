"""Time and memory of large predictions: python -m benchmarks.predictions [--short].

A small model is trained, then located with as many readings as a request may have: first with one
reading of each transmission, which gives most positions, then with one of each receiver.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Sequence
from typing import Self

import httpx
import psutil

from benchmarks.harness import cpu_seconds, heimdall, row
from tests.stack import Stack

COLUMNS = (
    "time", "web processor", "web memory", "inference memory", "/healthz at most", "response",
)  # fmt: skip


def body_of(receivers: Sequence[str], readings: int, per_sample: int) -> bytes:
    rows = [
        {
            "sample_id": f"transmission {number // per_sample}",
            "receiver_id": receivers[number % per_sample],
            "rssi_dbm": -80.25 - number % 31,
            "toa_ns": 1_764_124_800_123_456_000 + number % 9_973,
        }
        for number in range(readings)
    ]
    return json.dumps({"measurements": rows}).encode()


class Watch:
    """Measures the peak memory of the web process and its children, and the latency of /healthz."""

    def __init__(self, stack: Stack) -> None:
        assert stack.web is not None
        self._web, self._url = psutil.Process(stack.web.pid), stack.url
        self.before = self._web.memory_info().rss
        self.web_peak, self.child_peak, self.longest = 0, 0, 0.0
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._memory), threading.Thread(target=self._health)
        ]  # fmt: skip

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _memory(self) -> None:
        while not self._ended.wait(0.05):
            self.web_peak = max(self.web_peak, self._web.memory_info().rss)
            for child in self._web.children():
                self.child_peak = max(self.child_peak, child.memory_info().rss)

    def _health(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._ended.wait(0.05):
                started = time.monotonic()
                client.get("/healthz")
                self.longest = max(self.longest, time.monotonic() - started)


def measure(stack: Stack, model: str, body: bytes, name: str, title: str) -> None:
    assert stack.web is not None
    query = "" if name == "json" else f"?format={name}"
    with stack.api() as api, Watch(stack) as watch:
        api.timeout = httpx.Timeout(600)
        processor, started = cpu_seconds(stack.web.pid), time.monotonic()
        headers = {"Content-Type": "application/json"}
        with api.stream(
            "POST", f"/models/{model}/predict{query}", content=body, headers=headers
        ) as answer:
            received = sum(map(len, answer.iter_bytes()))
        seconds = time.monotonic() - started
        processor = cpu_seconds(stack.web.pid) - processor
        assert answer.status_code == 200, answer.status_code
    row(
        title,
        f"{seconds:.1f} s",
        f"{processor:.1f} s",
        f"+{(watch.web_peak - watch.before) / 1e6:.0f} MB",
        f"{watch.child_peak / 1e6:.0f} MB",
        f"{1000 * watch.longest:.0f} ms",
        f"{received / 1e6:.0f} MB",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="10,000 readings")
    readings = 10_000 if parser.parse_args().short else 200_000
    with heimdall(12) as stack:
        stack.start_worker()
        stack.until(job_id := stack.submit(epochs=3, portfolio=True), "completed", 300)
        stack.stop_workers()
        with stack.api() as api:
            (model,) = api.get("/models").json()["results"]
            assert model["job_id"] == job_id
            facts = api.get(f"/datasets/{stack.dataset}").json()["facts"]
        receivers = [one["id"] for one in facts["receivers"]]
        row(f"{readings:,} readings", *COLUMNS)
        # The first request starts the inference process.
        measure(stack, model["id"], body_of(receivers, 7, 7), "json", "7 readings")
        for per_sample in (1, len(receivers)):
            body = body_of(receivers, readings, per_sample)
            for name in ("json", "csv", "geojson"):
                measure(stack, model["id"], body, name, f"{per_sample} a sample, {name}")


if __name__ == "__main__":
    main()
