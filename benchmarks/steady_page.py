"""A page fed 50 events a second for a minute: are there slow frames, does its memory grow?

python -m benchmarks.steady_page
"""

from __future__ import annotations

from playwright.sync_api import Page

from benchmarks.harness import browser, feed, heimdall, p50_p95, row, signed_in, until

RATE, SECONDS = 50, 60
SLOW_MS = 100
FRAMES = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const tick = (now) => {
    window.frames_ms.push(now - last);
    last = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame((now) => { last = now; requestAnimationFrame(tick); });
}"""


def heap_mb(page: Page) -> float:
    """After what nobody needs any more has been collected."""
    wire = page.context.new_cdp_session(page)
    wire.send("HeapProfiler.collectGarbage")
    wire.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in wire.send("Performance.getMetrics")["metrics"]}
    wire.detach()
    return float(metrics["JSHeapUsedSize"]) / 1e6


def main() -> None:
    total = RATE * SECONDS
    with heimdall() as stack, browser() as chromium:
        page = signed_in(chromium, stack)
        job_id = stack.submit(epochs=total, patience=total, name="Fifty a second")
        page.goto(f"{stack.url}/jobs/{job_id}")
        page.wait_for_selector("#live[data-state=live]")
        page.evaluate(FRAMES)
        feeding = feed(stack, job_id, total, RATE, told=False)
        heaps = {}
        for second in range(10, SECONDS + 1, 10):
            done = RATE * second
            newest = "+document.querySelector('#epochs tbody tr')?.dataset.epoch"
            until(page, f"{newest} >= {done}")
            # Collecting takes a frame or two, which are not the page's own.
            slow = page.evaluate("window.frames_ms.length")
            heaps[second] = heap_mb(page)
            page.evaluate(f"window.frames_ms.splice({slow}, 3)")
        feeding.wait()
        frames: list[float] = page.evaluate("window.frames_ms")
    p50, p95 = p50_p95(frames)
    row("frames", "p50 ms", "p95 ms", "longest ms", f"over {SLOW_MS} ms")
    row(len(frames), f"{p50:.1f}", f"{p95:.1f}", f"{max(frames):.1f}",
        sum(one > SLOW_MS for one in frames))  # fmt: skip
    row("second", *heaps)
    row("heap, MB", *(f"{one:.2f}" for one in heaps.values()))
    row("last / after 20 s", f"{heaps[SECONDS] / heaps[20]:.2f}")


if __name__ == "__main__":
    main()
