"""A full disk and an unavailable database have different messages."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import psycopg.errors
import pytest
from django.db import OperationalError

from training.outages import AWAY, FULL, READ_ONLY, Outage, describe_outage


def raised_from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def sqlite_error(tmp_path: Path) -> sqlite3.Error:
    """That of a database which may not grow."""
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.execute("PRAGMA max_page_count = 2")
    try:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    except sqlite3.Error as error:
        return error
    finally:
        connection.close()
    raise AssertionError


def test_start_with_a_full_disk_under_sqlite_fails_with_a_sentence(tmp_path: Path) -> None:
    cause = sqlite_error(tmp_path)
    assert describe_outage(raised_from(OperationalError(str(cause)), cause)) == FULL


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (OSError(errno.ENOSPC, "x"), FULL),
        (OSError(errno.EDQUOT, "x"), FULL),
        (OSError(errno.EROFS, "x"), READ_ONLY),
        (raised_from(OperationalError("x"), psycopg.errors.DiskFull("x")), FULL),
        (raised_from(ValueError("x"), OSError(errno.ENOSPC, "x")), FULL),
        (OperationalError("connection refused"), AWAY),
        (raised_from(OperationalError("x"), psycopg.errors.ProgramLimitExceeded("x")), None),
        (FileNotFoundError(errno.ENOENT, "x"), None),
        (ValueError("x"), None),
        (None, None),
    ],
)
def test_outages_are_recognized_and_described(
    error: BaseException | None, outage: Outage | None
) -> None:
    assert describe_outage(error) == outage
