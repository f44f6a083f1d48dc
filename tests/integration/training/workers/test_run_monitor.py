"""Announcements of a training's output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from realtime import events
from tests.polling import eventually
from training.jobs.attempts import Attempt
from training.jobs.logs import AttemptLog
from training.workers.run_monitor import MAX_TEXT_BYTES, RunMonitor


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[events.Log]:
    sent: list[events.Log] = []
    monkeypatch.setattr("training.events.publisher.send_ephemeral", sent.append)
    return sent


@pytest.fixture
def log(tmp_path: Path) -> AttemptLog:
    found = AttemptLog(tmp_path / "trainer.log")
    found.path.touch()
    return found


def append(log: AttemptLog, data: bytes) -> None:
    with log.path.open("ab") as out:
        out.write(data)


def test_each_piece_of_output_is_announced_with_its_offset(
    running_attempt: Attempt, log: AttemptLog, announced: list[events.Log]
) -> None:
    append(log, b"from before\n")
    with RunMonitor(running_attempt, os.getpid(), log):
        append(log, "caf\u00e9\n".encode())
        eventually(lambda: announced)
        append(log, b"caf\xc3")
        eventually(lambda: len(announced) == 2)
        append(log, b"\xa9\n")
        eventually(lambda: len(announced) == 3)
    assert [(one.after, one.text) for one in announced] == [
        (12, "caf\u00e9\n"),
        (18, "caf"),
        (21, "\u00e9\n"),
    ]
    assert {one.attempt for one in announced} == {running_attempt.number}


def test_newest_part_of_much_output_is_announced(
    running_attempt: Attempt, log: AttemptLog, announced: list[events.Log]
) -> None:
    with RunMonitor(running_attempt, os.getpid(), log):
        append(log, b"x" * 10_000_000 + b"end\n")
        eventually(lambda: announced)
    assert announced[-1].text.endswith("xend\n")
    assert all(len(one.text.encode()) <= 16 * 1024 for one in announced)
    assert announced[-1].after == 10_000_004 - MAX_TEXT_BYTES


def test_output_written_just_before_the_end_is_announced(
    running_attempt: Attempt, log: AttemptLog, announced: list[events.Log]
) -> None:
    with RunMonitor(running_attempt, os.getpid(), log):
        append(log, b"Traceback\xff")
    assert "".join(one.text for one in announced) == "Traceback\ufffd"


def test_unreadable_log_does_not_end_the_training(
    running_attempt: Attempt, log: AttemptLog, announced: list[events.Log], ada: User
) -> None:
    log.path.with_suffix(".gap").write_text("not two numbers")
    with RunMonitor(running_attempt, os.getpid(), log):
        append(log, b"x\n")
    assert announced == []
