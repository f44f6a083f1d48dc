"""Reading an output whose middle may have been removed."""

from __future__ import annotations

import random
from pathlib import Path

from training.jobs.logs import AttemptLog, Gap, decode


def written(folder: Path, data: bytes, gap: Gap | None = None) -> AttemptLog:
    log = AttemptLog(folder / "trainer.log")
    log.path.write_bytes(data)
    if gap:
        log.declare_gap(gap)
    return log


def test_missing_log_is_empty(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "trainer.log")
    assert (log.size(), list(log.pieces(0, 10)), log.tail(5).data) == (0, [], b"")


def test_pieces_of_a_log_without_gap_join_to_the_whole_log(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(200_000)
    log = written(tmp_path, data)
    assert b"".join(piece.data for piece in log.pieces(0, len(data))) == data
    assert b"".join(piece.data for piece in log.pieces(70_001, 70_005)) == data[70_001:70_005]


def test_piece_after_a_gap_states_the_gap(tmp_path: Path) -> None:
    log = written(tmp_path, b"head" + bytes(6) + b"tail", Gap(4, 10))
    assert [(one.start, one.data, one.gap) for one in log.pieces(0, 14)] == [
        (0, b"head", None),
        (10, b"tail", Gap(4, 10)),
    ]
    assert [(one.start, one.data, one.gap) for one in log.pieces(6, 14)] == [
        (10, b"tail", Gap(6, 10))
    ]
    assert [(one.start, one.data, one.gap) for one in log.pieces(2, 7)] == [
        (2, b"ad", None),
        (10, b"", Gap(4, 10)),
    ]


def test_log_tail_begins_with_a_whole_character(tmp_path: Path) -> None:
    log = written(tmp_path, "ab€cd".encode())
    assert (log.tail(4).start, log.tail(4).data) == (5, b"cd")
    assert log.tail(100).data == "ab€cd".encode()


def test_incomplete_character_is_sent_once_it_is_complete() -> None:
    euro = "€".encode()
    assert decode(b"a" + euro[:2], final=False) == ("a", 1)
    assert decode(b"a" + euro[:2], final=True) == ("a\ufffd", 3)
    assert decode(b"a\xffb", final=False) == ("a\ufffdb", 3)
