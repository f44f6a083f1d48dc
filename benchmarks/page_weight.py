"""Size and load time of a job's page with 200 and with 8,000 epochs.

python -m benchmarks.page_weight
"""

from __future__ import annotations

from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page

from benchmarks.harness import browser, heimdall, record_epochs, row, signed_in, until
from tests.stack import Stack

RUNS = 5
GOAL_BYTES, GOAL_MS = 60_000, 300
# The chart is drawn one frame after its canvas was added.
OBSERVE_CHART = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("#error-chart canvas")) return;
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


def main() -> None:
    with heimdall() as stack, browser() as chromium:
        results = {}
        for epochs in (200, 8000):
            job_id = stack.submit(epochs=epochs, patience=epochs, name=f"{epochs} epochs")
            record_epochs(stack, job_id, epochs, 0).wait()
            results[epochs] = measure(stack, chromium, job_id)
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


if __name__ == "__main__":
    main()
