"""A script that reports with the SDK, and the data that the server stores of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.stack import Stack
from tests.unit.sdk.supervision import script_environment

SCRIPT = """
import sys, time
import heimdall_sdk
count, seconds = int(sys.argv[1]), float(sys.argv[2])
with heimdall_sdk.init(name="elsewhere", config={"lr": 0.1}) as run:
    for step in range(1, count + 1):
        run.log(step=step, loss=1 / step, other=float(step))
        if step % (count // 100) == 0:
            run.log(epoch=step * 100 // count, step=step, val_loss=100 / step)
            print("epoch", step * 100 // count, flush=True)
            time.sleep(seconds / 100)
"""


def start(stack: Stack, folder: Path, count: int, seconds: float) -> subprocess.Popen[bytes]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    environment = script_environment(
        HEIMDALL_URL=stack.url,
        HEIMDALL_TOKEN=stack.tokens["ada"],
        HEIMDALL_SPOOL=str(folder / "spool"),
    )
    command = [sys.executable, str(script), str(count), str(seconds)]
    with (folder / "errors").open("wb") as errors:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )


def reported_job(stack: Stack) -> Any:
    with stack.api() as api:
        jobs = api.get("/jobs?search=elsewhere").json()["results"]
    return jobs[0] if jobs else None


READ = """
import json, sys, django
django.setup()
from training.points import columns, store
names = store.series_names(sys.argv[1])
series = {name: columns.read_series(sys.argv[1], name) for name in names}
print(json.dumps({name: [one.steps.tolist(), one.values.tolist()] for name, one in series.items()}))
"""


def stored_points(stack: Stack, job_id: str) -> dict[str, dict[int, float]]:
    """Every stored value by series and step."""
    found = json.loads(stack.python("-c", READ, job_id).splitlines()[-1])
    return {name: dict(zip(steps, values, strict=True)) for name, (steps, values) in found.items()}


def expected_points(count: int) -> dict[str, dict[int, float]]:
    """What the script reports."""
    steps = range(1, count + 1)
    return {
        "loss": {step: 1 / step for step in steps},
        "other": {step: float(step) for step in steps},
        "val_loss": {step: 100 / step for step in steps[count // 100 - 1 :: count // 100]},
    }
