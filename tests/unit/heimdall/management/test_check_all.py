"""`manage.py check_all`: every check runs, and any failure fails the command."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from heimdall.management.commands import check_all

PASS = [sys.executable, "-S", "-c", "print('fine')"]
FAIL = [sys.executable, "-S", "-c", "import sys; print('line 7 is wrong'); sys.exit(1)"]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The checks that run, to be filled by a test."""
    found: dict[str, list[str]] = {}
    monkeypatch.setattr(check_all, "CHECKS", found)
    return found


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("check_all", *arguments, stdout=out)
    return out.getvalue()


def test_each_passed_check_prints_one_line(checks: dict[str, list[str]]) -> None:
    checks |= {"lint": PASS, "types": PASS}
    assert [line.split(" (")[0] for line in run("--no-tests").splitlines()] == [
        "lint: ok",
        "types: ok",
    ]


def test_failed_check_prints_its_output_and_the_others_still_run(
    checks: dict[str, list[str]],
) -> None:
    checks |= {"lint": FAIL, "types": PASS, "names": FAIL}
    out = StringIO()
    with pytest.raises(CommandError, match=r"^Failed: lint, names\.$"):
        call_command("check_all", "--no-tests", stdout=out)
    assert out.getvalue().count("line 7 is wrong") == 2
    assert "types: ok" in out.getvalue()


@pytest.mark.parametrize("command", [PASS, FAIL])
def test_tests_run_unless_they_are_disabled(
    checks: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr(check_all, "_MANAGE", [*command, "manage.py"])
    assert run("--no-tests") == ""
    if command is FAIL:
        with pytest.raises(CommandError, match=r"^Failed: tests\.$"):
            run()
    else:
        assert run().startswith("tests: ok")


def test_javascript_check_is_skipped_without_its_tool(
    checks: dict[str, list[str]], settings: Any, tmp_path: Path
) -> None:
    settings.BASE_DIR = tmp_path
    checks["JavaScript"] = [check_all._BIOME, "check"]
    assert run("--no-tests") == "JavaScript: skipped (install its tools with `npm ci`)\n"


def test_every_tool_runs_with_this_interpreter() -> None:
    commands = [command for command in check_all.CHECKS.values() if command[0] != check_all._BIOME]
    assert {command[0] for command in commands} == {sys.executable}
