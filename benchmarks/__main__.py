"""Run all benchmarks: python -m benchmarks [--short] [--browser].

Each part also runs on its own (`python -m benchmarks.history`). `--short` takes some minutes and
checks that every part runs; its figures are not representative.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

PARTS = {
    "history": "Reading histories over HTTP",
    "lists": "Lists, forms and /ws at 100,000 jobs",
    "events": "Latency and throughput from publisher to WebSockets",
    "sockets": "Ten thousand WebSockets",
    "overhead": "Overhead of Heimdall on a training",
    "processes": "Start-up time and memory",
    "ingest": "Accepting points of reported jobs, and their charts",
    "importing": "Import of runs that MLflow has recorded",
    "held_resources": "Resources held by idle, slow and anonymous clients",
    "predictions": "Large predictions",
}
BROWSER = {
    "commit_to_point": "Latency from commit to drawn point",
    "page_weight": "Page weight and load time",
    "steady_page": "Frame times and memory of a live page",
    "lost_worker": "Detection of a killed worker",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="smaller sizes")
    parser.add_argument(
        "--browser", action="store_true", help="also run the parts that need Chromium"
    )
    options = parser.parse_args()
    failed = []
    for name, title in {**PARTS, **(BROWSER if options.browser else {})}.items():
        print(f"\n{title} (benchmarks.{name})", flush=True)
        short = ["--short"] if options.short and name in PARTS else []
        started = time.monotonic()
        # One process per part, so that no part affects the next.
        completed = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *short], check=False
        )
        print(f"{time.monotonic() - started:.0f} s", flush=True)
        if completed.returncode:
            failed.append(name)
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
