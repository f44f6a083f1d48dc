"""What a job's page weighs, and how soon its chart is there: 200 epochs beside 8,000.

python -m benchmarks.page_weight
"""

from __future__ import annotations

from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page

from benchmarks.harness import browser, feed, heimdall, row, signed_in, until
from tests.stack import Stack

RUNS = 5
GOAL_BYTES, GOAL_MS = 60_000, 300
# The chart is there when its canvas is, one frame later.
WATCH = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("#error-chart canvas")) return;
  observer.disconnect();
  requestAnimationFrame(() => (window.firstChart = performance.now()));
}).observe(document, {childList: true, subtree: true});
"""
TOLD = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return {html: page.responseEnd - page.requestStart, chart: window.firstChart - page.responseEnd,
          drawn: paint.startTime - page.responseEnd};
}"""


def measure(stack: Stack, chromium: Browser, job_id: str) -> dict[str, float]:
    """Medians over fresh loads with an empty cache: bytes on the wire, requests, ms."""
    page = signed_in(chromium, stack)
    page.add_init_script(WATCH)
    found = [_load(page, f"{stack.url}/jobs/{job_id}") for _ in range(RUNS)]
    page.context.close()
    return {name: median(one[name] for one in found) for name in found[0]}


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
    told: dict[str, Any] = page.evaluate(TOLD)
    wire.detach()
    code = [size for key, size in sizes.items() if kinds.get(key) in ("Script", "Stylesheet")]
    html = [size for key, size in sizes.items() if kinds.get(key) == "Document"]
    return {"code": sum(code), "html_bytes": sum(html), "requests": float(len(sizes)), **told}


def main() -> None:
    with heimdall() as stack, browser() as chromium:
        results = {}
        for epochs in (200, 8000):
            job_id = stack.submit(epochs=epochs, patience=epochs, name=f"{epochs} epochs")
            feed(stack, job_id, epochs, 0).wait()
            results[epochs] = measure(stack, chromium, job_id)
    small, large = results[200], results[8000]
    row("median of 5", "200 epochs", "8,000 epochs", "ratio", "goal")
    for name, said, goal in (
        ("code", "script + style, B gzip", GOAL_BYTES),
        ("html_bytes", "HTML, B gzip", ""),
        ("requests", "requests", ""),
        ("html", "request to HTML, ms", ""),
        ("drawn", "HTML to first paint, ms", ""),
        ("chart", "HTML to chart, ms", GOAL_MS),
    ):
        ratio = f"{large[name] / small[name]:.2f}" if small[name] else ""
        row(said, f"{small[name]:.0f}", f"{large[name]:.0f}", ratio, goal)


if __name__ == "__main__":
    main()
