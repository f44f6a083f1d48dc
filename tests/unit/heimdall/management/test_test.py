"""`manage.py test`: the command that it runs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.management import call_command

from heimdall.management.commands import test as command


@dataclass
class Recorder:
    """Takes the place of `subprocess.run`."""

    status: int = 0
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.arguments, self.environment = arguments[1:], options["env"]
        return subprocess.CompletedProcess(arguments, self.status)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(subprocess, "run", recorder.run)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    return recorder


def test_arguments_are_passed_to_pytest_on_at_most_four_processes(recorder: Recorder) -> None:
    assert command.run_tests(["tests/unit", "-k", "pause"]) == 0
    assert recorder.arguments == [
        "-m", "pytest", "tests/unit", "-k", "pause", "-n", "4", "--dist", "loadgroup",
    ]  # fmt: skip


@pytest.mark.parametrize("chosen", ["-n0", "-n=2", "--numprocesses=1"])
def test_chosen_number_of_processes_is_kept(recorder: Recorder, chosen: str) -> None:
    command.run_tests([chosen])
    assert recorder.arguments == ["-m", "pytest", chosen]


def test_required_broker_is_an_environment_variable(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEIMDALL_REQUIRE_RABBIT", raising=False)
    command.run_tests(["-n0"])
    assert "HEIMDALL_REQUIRE_RABBIT" not in recorder.environment
    command.run_tests(["--require-rabbit", "-n0"])
    assert recorder.environment["HEIMDALL_REQUIRE_RABBIT"] == "1"
    assert recorder.arguments == ["-m", "pytest", "-n0"]


def test_failed_tests_fail_the_command(recorder: Recorder) -> None:
    recorder.status = 1
    with pytest.raises(SystemExit) as ended:
        call_command("test")
    assert ended.value.code == 1
