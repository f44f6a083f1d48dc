"""Cost of `run.log`: microseconds a call, and how much it slows a training, in each mode.

python -m benchmarks.sdk_log. Each mode runs in its own process, with a supervisor or a
server in another. Blocks of steps with and without `run.log` alternate, so that drift affects
both equally; the slowdown is that of wall time, with a 95 % interval over pairs of blocks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import row
from tests.unit.sdk.report_server import ReportServer
from tests.unit.sdk.supervision import Supervised, script_environment

LOOP = Path(__file__).with_name("logging_loop.py")
GOAL_P50_US, GOAL_SLOWDOWN = 20, 1.0


def measure(mode: str, folder: Path) -> dict[str, Any]:
    result = folder / "figures.json"
    if mode == "managed":
        with Supervised(folder, str(LOOP), str(result)).start() as attempt:
            attempt.read(seconds=300)
    else:
        with ReportServer() as server:
            environment = server.environment if mode == "reported" else {}
            subprocess.run(
                [sys.executable, str(LOOP), str(result)],
                env=script_environment(HEIMDALL_SPOOL=str(folder / "spool"), **environment),
                cwd=folder,
                check=True,
                stderr=subprocess.DEVNULL,
            )
    figures: dict[str, Any] = json.loads(result.read_text())
    return figures


def main() -> None:
    row("mode", "calls", "p50 us", "p99 us", "max us", "slowdown")
    for mode in ("managed", "reported", "offline"):
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(mode, Path(folder))
        for name in ("in_training", "in_a_tight_loop"):
            found = figures[name]
            slowdown = f"{figures['slowdown']:.2f} ± {figures['interval']:.2f} %"
            row(
                mode,
                name.replace("_", " "),
                *(f"{found[one]:.1f}" for one in ("p50", "p99", "max")),
                slowdown if name == "in_training" else "",
            )
    print(f"Goals: p50 at most {GOAL_P50_US} us, slowdown at most {GOAL_SLOWDOWN} %.", flush=True)


if __name__ == "__main__":
    main()
