"""The SDK with a real server: the API returns what a script reports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.polling import eventually
from tests.stack import Stack, running_stack
from tests.unit.sdk.supervision import SCRIPTS, script_environment

PREAMBLE = """
import os, time
import heimdall_sdk
from heimdall_sdk import reported
reported.EXIT_SECONDS = 90
"""
MANIFEST = """
title = "Count"
command = ["python", "count.py"]
resumable = true
objective = { metric = "loss", direction = "minimize" }
[parameters]
epochs = { type = "integer", default = 20, minimum = 1 }
seconds = { type = "number", default = 0.1 }
"""


@pytest.fixture(scope="module")
def heimdall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("sdk")
    program = folder / "programs" / "count"
    program.mkdir(parents=True)
    (program / "program.toml").write_text(MANIFEST)
    (program / "count.py").write_text((SCRIPTS / "count.py").read_text())
    with running_stack(folder, HEIMDALL_PROGRAMS_DIR=str(program.parent)) as stack:
        yield stack


def start(heimdall: Stack, folder: Path, body: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(PREAMBLE + textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=script_environment(
            HEIMDALL_URL=heimdall.url,
            HEIMDALL_TOKEN=heimdall.tokens["ada"],
            HEIMDALL_SPOOL=str(folder / "spool"),
        ),
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def only_job(heimdall: Stack, name: str) -> dict[str, Any]:
    with heimdall.api() as api:
        (job,) = api.get("/jobs", params={"search": name}).json()["results"]
    return dict(job)


def column(heimdall: Stack, job_id: str, name: str) -> list[tuple[int, float]]:
    with heimdall.api() as api:
        found = api.get(
            f"/jobs/{job_id}/metrics", params={"series": name, "max_points": 5000}
        ).json()
    values = zip(found["step"], found["series"][name], strict=True)
    return [(step, value) for step, value in values if value is not None]


def trainer_of(job_id: str) -> int | None:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if b"count.py" in command and job_id.encode() in (folder / "environ").read_bytes():
                return int(folder.name)
        except OSError:  # it has ended
            continue
    return None


def test_reported_run_is_complete_after_the_server_was_killed(
    heimdall: Stack, tmp_path: Path
) -> None:
    process = start(
        heimdall, tmp_path,
        """
        with heimdall_sdk.init(name="outside", config={"lr": 0.1}, objective="loss",
                               total_epochs=30, tags=["x"]) as run:
            print("a line of output")
            for epoch in run.epochs(0):
                for batch in range(50):
                    run.log(batch_loss=epoch * 50 + batch)
                    time.sleep(0.002)
                run.log(epoch=epoch, loss=abs(epoch - 20))
            with open("notes.txt", "w") as file:
                file.write("n" * 5000)
            run.log_artifact("notes.txt", "docs/my notes.txt")
        """,
    )  # fmt: skip
    eventually(lambda: list((tmp_path / "spool").glob("*/records*")))
    time.sleep(1)
    assert heimdall.web is not None
    os.killpg(heimdall.web.pid, signal.SIGKILL)
    heimdall.web.wait()
    heimdall.start_web()

    _, stderr = process.communicate(timeout=110)

    job = only_job(heimdall, "outside")
    assert (job["status"], job["current_epoch"], job["best_epoch"]) == ("completed", 30, 20), stderr
    assert job["config"] == {"lr": 0.1}
    batches = column(heimdall, job["id"], "batch_loss")
    assert [value for _, value in batches] == list(range(50, 50 * 31))
    (log,) = heimdall.folder.glob(f"**/{job['id']}/**/trainer.log")
    assert log.read_text().startswith("a line of output\n")
    with heimdall.api() as api:
        assert api.get(f"/jobs/{job['id']}/artifacts/docs/my notes.txt").text == "n" * 5000
    assert list((tmp_path / "spool").iterdir()) == []


def test_cancellation_reaches_the_script(heimdall: Stack, tmp_path: Path) -> None:
    process = start(
        heimdall, tmp_path,
        """
        with heimdall_sdk.init(name="endless", total_epochs=10**6) as run:
            for epoch in run.epochs(0):
                run.log(epoch=epoch, loss=1)
                time.sleep(0.05)
        print("stopped")
        """,
    )  # fmt: skip

    def running() -> dict[str, Any] | None:
        with heimdall.api() as api:
            found = api.get("/jobs", params={"search": "endless"}).json()["results"]
        return found[0] if found and found[0]["current_epoch"] else None

    job = eventually(running)
    with heimdall.api() as api:
        assert api.post(f"/jobs/{job['id']}/cancel").status_code == 202
    stdout, stderr = process.communicate(timeout=60)

    assert stdout == "stopped\n", stderr
    assert heimdall.job(job["id"])["status"] == "cancelled"


def test_killed_program_resumes_with_the_same_numbers(heimdall: Stack) -> None:
    def submit(**parameters: object) -> str:
        body = {"program": "count", "parameters": parameters}
        with heimdall.api() as api:
            answer = api.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    killed, whole = submit(seconds=0.4), submit(seconds=0.0)
    for epoch in (3, 8):
        eventually(lambda: heimdall.job(killed)["current_epoch"] >= epoch)  # noqa: B023
        os.kill(eventually(lambda: trainer_of(killed)), signal.SIGKILL)
    jobs = [heimdall.until(job_id, "completed") for job_id in (killed, whole)]

    assert [job["best_epoch"] for job in jobs] == [3, 3]
    assert [job["best_value"] for job in jobs] == [0.0, 0.0]
    weights = [column(heimdall, job_id, "weight") for job_id in (killed, whole)]
    assert weights[0] == weights[1]
    assert len(weights[0]) == 20
    batches = [column(heimdall, job_id, "batch_loss") for job_id in (killed, whole)]
    assert batches[0] == batches[1]
