"""An installation with a minimal program, and the command that talks to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heimdall_sdk.cli.main import main
from tests.stack import Stack, running_stack

SDK = Path(__file__).resolve().parents[3] / "sdk"
MANIFEST = """
title = "Counting"
command = ["python", "train.py"]
needs = "cpu"
resumable = true
objective = { metric = "loss", direction = "minimize" }
[parameters]
epochs  = { type = "integer", default = 3, minimum = 1, maximum = 1000 }
seconds = { type = "number", default = 0.0, minimum = 0 }
fails   = { type = "boolean", default = false }
order   = { enum = ["up", "down"], default = "up" }
"""
SCRIPT = """
import time
import heimdall_sdk

with heimdall_sdk.init() as run:
    start = run.restore()
    for epoch in run.epochs(start):
        print(f"output of epoch {epoch}", flush=True)
        time.sleep(run.config["seconds"])
        run.log(epoch=epoch, loss=1 / epoch, accuracy=0.5)
        run.checkpoint(epoch)
        if run.config["fails"]:
            run.finish("failed", "It was asked to fail.")
"""

# A shell starts background processes, such as tests, with interrupts ignored.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from heimdall_sdk.cli.main import main
sys.exit(main())
"""

Heimdall = Callable[..., int]


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("programs")
    program = folder / "counting"
    program.mkdir()
    (program / "program.toml").write_text(MANIFEST)
    (program / "train.py").write_text(SCRIPT)
    # Other tests of this machine may take the processor for longer than a short lease lasts.
    data = tmp_path_factory.mktemp("installation")
    with running_stack(
        data, HEIMDALL_PROGRAMS_DIR=str(folder), HEIMDALL_LEASE_SECONDS="30"
    ) as stack:
        yield stack


@pytest.fixture
def cli_environment(installation: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("HEIMDALL_URL", installation.url)
    monkeypatch.setenv("HEIMDALL_TOKEN", installation.tokens["ada"])
    monkeypatch.setenv("HEIMDALL_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return installation


@pytest.fixture
def heimdall(cli_environment: Stack) -> Heimdall:
    """The command in this process; returns its exit status."""

    def run(*words: str) -> int:
        return main(words)

    return run


@pytest.fixture
def start_heimdall(cli_environment: Stack) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The command as a process of its own."""
    started = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words],
            env={**os.environ, "PYTHONPATH": str(SDK), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
