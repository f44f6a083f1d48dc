"""The demo command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from tests.broker import free_port

pytestmark = [pytest.mark.xdist_group("embedded"), pytest.mark.timeout(180)]


# As in a terminal: background processes of a shell, and their children, ignore SIGINT.
INTERRUPTIBLE = ["env", "--default-signal=INT"]


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*INTERRUPTIBLE, sys.executable, "manage.py", "demo", "--port", str(free_port()), *options],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "HEIMDALL_DATA_DIR": str(folder),
            "DATABASE_URL": "",
            "RABBITMQ_URL": "",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_demo_trains_shows_the_result_and_exits(tmp_path: Path) -> None:
    with demo(tmp_path, "--exit", "--epochs", "2") as running:
        assert running.stdout is not None
        output = running.stdout.read()
    assert running.returncode == 0, output
    address = re.search(r"http://127\.0\.0\.1:\d+/jobs/[0-9a-f-]{36}", output)
    assert address
    assert output.index(address[0]) < output.index("epoch 1/2") < output.index("epoch 2/2")
    assert "Using SQLite and an in-process broker (embedded)." in output
    for line in ("this model", "weighted centroid", "nearest neighbors", "Cramér-Rao bound"):
        assert line in output
    assert "Traceback" not in output


def test_ctrl_c_ends_all_processes_and_the_next_start_resumes_the_job(tmp_path: Path) -> None:
    with demo(tmp_path, "--epochs", "200") as running:
        assert running.stdout is not None
        output = ""
        while "epoch 1/200" not in output:
            line = running.stdout.readline()
            assert line, output
            output += line
        running.send_signal(signal.SIGINT)
        output += running.stdout.read()
    assert running.returncode == 0, output
    assert "the job continues at the next start" in output
    assert "Traceback" not in output
    remaining = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert remaining.stdout == b""

    with demo(tmp_path, "--epochs", "1") as again:
        time.sleep(1)
        jobs = tmp_path / "jobs"
        until = time.monotonic() + 60
        while not list(jobs.glob("*/attempt-002")):
            assert time.monotonic() < until, "the interrupted job was not resumed"
            time.sleep(0.1)
        again.terminate()
        assert again.stdout is not None
        again.stdout.read()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        (
            "--dataset",
            "/nowhere",
            "--dataset /nowhere: the folder cannot be read: No such file or directory",
        ),
        ("--epochs", "0", "--epochs"),
    ],
)
def test_invalid_option_is_an_error_message(
    tmp_path: Path, option: str, value: str, sentence: str
) -> None:
    with demo(tmp_path, option, value) as running:
        assert running.stdout is not None
        output = running.stdout.read()
    assert running.returncode != 0
    assert sentence in output
    assert "Traceback" not in output
