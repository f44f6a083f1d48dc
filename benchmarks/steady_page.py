"""Frame times and memory of a job's page that receives 50 epochs a second for a minute.

python -m benchmarks.steady_page
"""

from __future__ import annotations

from playwright.sync_api import Page

from benchmarks.harness import browser, heimdall, p50_p95, record_epochs, row, signed_in, until

RATE, SECONDS = 50, 60
SLOW_MS = 100
RECORD_FRAMES = """() => {
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
    """JavaScript heap after a garbage collection."""
    wire = page.context.new_cdp_session(page)
    wire.send("HeapProfiler.collectGarbage")
    wire.send("Performance.enable")
    metrics = {
        metric["name"]: metric["value"] for metric in wire.send("Performance.getMetrics")["metrics"]
    }
    wire.detach()
    return float(metrics["JSHeapUsedSize"]) / 1e6


def main() -> None:
    total = RATE * SECONDS
    with heimdall() as stack, browser() as chromium:
        page = signed_in(chromium, stack)
        job_id = stack.submit(epochs=total, patience=total, name="50 epochs a second")
        page.goto(f"{stack.url}/jobs/{job_id}")
        page.wait_for_selector("#live[data-state=live]")
        page.evaluate(RECORD_FRAMES)
        worker = record_epochs(stack, job_id, total, RATE, output=False)
        heaps = {}
        for second in range(10, SECONDS + 1, 10):
            expected = RATE * second
            newest = "+document.querySelector('#epochs tbody tr')?.dataset.epoch"
            until(page, f"{newest} >= {expected}")
            # Do not count the frames that the garbage collection delays.
            slow = page.evaluate("window.frames_ms.length")
            heaps[second] = heap_mb(page)
            page.evaluate(f"window.frames_ms.splice({slow}, 3)")
        worker.wait()
        frames: list[float] = page.evaluate("window.frames_ms")
    p50, p95 = p50_p95(frames)
    row("frames", "p50 ms", "p95 ms", "longest ms", f"over {SLOW_MS} ms")
    row(len(frames), f"{p50:.1f}", f"{p95:.1f}", f"{max(frames):.1f}",
        sum(interval > SLOW_MS for interval in frames))  # fmt: skip
    row("second", *heaps)
    row("heap, MB", *(f"{size:.2f}" for size in heaps.values()))
    row("last / after 20 s", f"{heaps[SECONDS] / heaps[20]:.2f}")


if __name__ == "__main__":
    main()
