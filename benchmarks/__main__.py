"""Everything that is promised in figures, table by table: python -m benchmarks [--short].

Each part also runs on its own (`python -m benchmarks.history`). `--short` takes some minutes and
shows that all of it runs; its figures are of less, and promise nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

PARTS = {
    "history": "What is stored, read back",
    "events": "From the publisher to the sockets",
    "overhead": "What watching costs a training",
    "processes": "Start and memory",
}
BROWSER = {
    "commit_to_point": "From the commit to the drawn point",
    "page_weight": "What a page weighs",
    "steady_page": "A page fed for a minute",
    "lost_worker": "A worker that is killed",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="less of everything")
    parser.add_argument("--browser", action="store_true", help="those of the pages too")
    chosen = parser.parse_args()
    failed = []
    for name, title in {**PARTS, **(BROWSER if chosen.browser else {})}.items():
        print(f"\n{title} (benchmarks.{name})", flush=True)
        short = ["--short"] if chosen.short and name in PARTS else []
        began = time.monotonic()
        # Each in a process of its own: what one leaves behind is not measured by the next.
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *short], check=False)
        print(f"{time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"\nDid not end well: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
