"""Failures of the machine, not of a request: a full disk, an unreachable database."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, OperationalError

# SQLSTATE
DISK_FULL = "53100"
_LIMIT_EXCEEDED = "54"  # a class: a value or query is too large for the database
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Outage:
    """The status of a response (RFC 9110, RFC 4918), its title, and one or two sentences."""

    status: int
    title: str
    text: str


FULL = Outage(
    507,
    "The server’s disk is full",
    "The server's disk is full, so nothing was stored. An administrator has to free space; then "
    "try again.",
)
READ_ONLY = Outage(
    507,
    "The server cannot store anything",
    "The server's disk is read-only, so nothing was stored. An administrator has to repair it; "
    "then try again.",
)
AWAY = Outage(
    503,
    "The database cannot be reached",
    "The database cannot be reached. Nothing was changed; try again.",
)


def describe_outage(error: BaseException | None) -> Outage | None:
    """None if the error is not one of the machine."""
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return FULL
        if isinstance(cause, OSError) and cause.errno == errno.EROFS:
            return READ_ONLY
        if isinstance(cause, sqlite3.Error) and (name := _sqlite_name(cause)):
            if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR_"):
                return FULL
            if name.startswith("SQLITE_READONLY"):
                return READ_ONLY
        if getattr(cause, "sqlstate", None) == DISK_FULL:
            return FULL
        if isinstance(cause, DatabaseError) and "No space left on device" in str(cause):
            return FULL
    if isinstance(error, (OperationalError, InterfaceError)) and not exceeds_limit(error):
        return AWAY
    return None


def exceeds_limit(error: BaseException) -> bool:
    """Whether the request is too large for PostgreSQL; repeating it would fail again."""
    return any(
        str(getattr(cause, "sqlstate", "") or "").startswith(_LIMIT_EXCEEDED)
        for cause in _chain(error)
    )


def _sqlite_name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
