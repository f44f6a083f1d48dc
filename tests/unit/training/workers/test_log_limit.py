"""The log limit, with a real process that prints without end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.jobs.logs import AttemptLog
from training.workers import log_limit
from training.workers.log_limit import LogLimit

KIB, MIB = 1 << 10, 1 << 20


def numbered_output(path: Path, size: int) -> AttemptLog:
    """Written by another process: line N is at byte 16 N and contains that number."""
    with path.open("ab") as out:
        program = (
            f"import sys; [sys.stdout.buffer.write(b''.join(b'%015d\\n' % n for n in range(start,"
            f" start + 4096))) for start in range(0, {size // 16}, 4096)]"
        )
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    return AttemptLog(path)


def test_head_and_tail_of_a_long_output_are_kept_at_their_offsets(tmp_path: Path) -> None:
    log = numbered_output(tmp_path / "trainer.log", 40 * MIB)
    LogLimit(log, head=2 * MIB, tail=4 * MIB).enforce(log.size())
    gap = log.gap()
    assert log.size() == 40 * MIB
    assert (gap.start, gap.end) == (2 * MIB, 36 * MIB)
    assert log.path.stat().st_blocks * 512 <= 6 * MIB + 64 * KIB
    for offset in (0, 2 * MIB - 16, 36 * MIB, 40 * MIB - 16):
        assert log.read(offset, 16).data == b"%015d\n" % (offset // 16)
    assert log.read(20 * MIB, 16).data == b"%015d\n" % (36 * MIB // 16)


def test_gap_grows_with_the_output(tmp_path: Path) -> None:
    path = tmp_path / "trainer.log"
    limit = LogLimit(AttemptLog(path), head=MIB, tail=2 * MIB)
    for step in range(1, 9):
        log = numbered_output(path, 2 * MIB)
        limit.enforce(log.size())
        assert log.path.stat().st_blocks * 512 <= 4 * MIB + 64 * KIB
        assert log.gap().end in {0, max(0, 2 * step * MIB - 2 * MIB)}


def test_short_log_is_not_truncated(tmp_path: Path) -> None:
    log = numbered_output(tmp_path / "trainer.log", 4 * MIB)
    LogLimit(log, head=2 * MIB, tail=2 * MIB).enforce(log.size())
    assert log.gap().size == 0


def test_file_system_without_sparse_files_keeps_the_whole_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(fd: int, offset: int, length: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(log_limit, "punch_hole", unsupported)
    log = numbered_output(tmp_path / "trainer.log", 8 * MIB)
    limit = LogLimit(log, head=MIB, tail=MIB)
    limit.enforce(log.size())
    limit.enforce(log.size())
    assert log.gap().size == 0
    assert log.read(4 * MIB, 16).data == b"%015d\n" % (4 * MIB // 16)
    assert len(caplog.records) == 1
