"""Size and load time of a job's page by its epochs and its series.

python -m benchmarks.page_weight
"""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page

from benchmarks.harness import browser, heimdall, record_epochs, row, signed_in, until
from tests.stack import Stack

RUNS = 5
GOAL_BYTES, GOAL_MS, GOAL_SERIES_MS = 60_000, 300, 1000
SERIES, STEPS, BATCH = 1000, 1000, 50
# The chart is drawn one frame after its canvas was added.
OBSERVE_CHART = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("#charts canvas")) return;
  observer.disconnect();
  requestAnimationFrame(() => (window.firstChart = performance.now()));
}).observe(document, {childList: true, subtree: true});
"""
READ_TIMINGS = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return {html: page.responseEnd - page.requestStart, chart: window.firstChart - page.responseEnd,
          drawn: paint.startTime - page.responseEnd};
}"""


def measure(stack: Stack, chromium: Browser, job_id: str) -> dict[str, float]:
    """Medians over fresh loads with an empty cache: bytes on the wire, requests, ms."""
    page = signed_in(chromium, stack)
    page.add_init_script(OBSERVE_CHART)
    loads = [_load(page, f"{stack.url}/jobs/{job_id}") for _ in range(RUNS)]
    page.context.close()
    return {name: median(load[name] for load in loads) for name in loads[0]}


def _load(page: Page, url: str) -> dict[str, float]:
    wire = page.context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.setCacheDisabled", {"cacheDisabled": True})
    kinds: dict[str, str] = {}
    sizes: dict[str, float] = {}
    wire.on("Network.responseReceived", lambda e: kinds.update({e["requestId"]: e["type"]}))
    wire.on("Network.loadingFinished",
            lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]}))  # fmt: skip
    page.goto(url)
    until(page, "window.firstChart")
    page.wait_for_load_state("load")
    timings: dict[str, Any] = page.evaluate(READ_TIMINGS)
    wire.detach()
    code = [size for key, size in sizes.items() if kinds.get(key) in ("Script", "Stylesheet")]
    html = [size for key, size in sizes.items() if kinds.get(key) == "Document"]
    return {"code": sum(code), "html_bytes": sum(html), "requests": float(len(sizes)), **timings}


def report_series(stack: Stack) -> str:
    """A reported job with SERIES series of STEPS steps each."""
    with stack.api() as api:
        job_id = str(api.post("/reports", json={"name": "Series"}).raise_for_status().json()["id"])
        for first in range(0, STEPS, BATCH):
            points = [
                {"step": step, "time": 1e9 + step,
                 "values": {f"layer{index // 10}/grad{index % 10}": math.sin(step / 50 + index)
                            for index in range(SERIES)}}
                for step in range(first, first + BATCH)
            ]  # fmt: skip
            body = {"batch": f"b-{first // BATCH}", "points": points}
            api.post(f"/reports/{job_id}/points", json=body, timeout=120).raise_for_status()
        api.post(f"/reports/{job_id}/finish", json={"status": "completed"}).raise_for_status()
    return job_id


def main() -> None:
    with heimdall() as stack, browser() as chromium:
        results = {}
        for epochs in (200, 8000):
            job_id = stack.submit(epochs=epochs, patience=epochs, name=f"{epochs} epochs")
            record_epochs(stack, job_id, epochs, 0).wait()
            results[epochs] = measure(stack, chromium, job_id)
        series = measure(stack, chromium, report_series(stack))
    small, large = results[200], results[8000]
    row("median of 5", "200 epochs", "8,000 epochs", "ratio", "goal")
    for name, label, goal in (
        ("code", "script + style, B gzip", GOAL_BYTES),
        ("html_bytes", "HTML, B gzip", ""),
        ("requests", "requests", ""),
        ("html", "request to HTML, ms", ""),
        ("drawn", "HTML to first paint, ms", ""),
        ("chart", "HTML to chart, ms", GOAL_MS),
    ):
        ratio = f"{large[name] / small[name]:.2f}" if small[name] else ""
        row(label, f"{small[name]:.0f}", f"{large[name]:.0f}", ratio, goal)
    print()
    row("median of 5", f"{SERIES:,} series x {STEPS:,} steps", "goal")
    row("HTML, B gzip", f"{series['html_bytes']:.0f}", "")
    row("request to HTML, ms", f"{series['html']:.0f}", "")
    row("HTML to chart, ms", f"{series['chart']:.0f}", "")
    row("request to chart, ms", f"{series['html'] + series['chart']:.0f}", GOAL_SERIES_MS)


if __name__ == "__main__":
    main()
