"""Databases that are read: SQLite, and PostgreSQL with a driver that the user has installed."""

from __future__ import annotations

import contextlib
import importlib
import re
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from heimdall_sdk.importing.runs import UnreadableError

SQLITE = "sqlite:///"
_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?://")
_DRIVERS = ("psycopg", "psycopg2")
_MAGIC = b"SQLite format 3\0"


class Database(Protocol):
    """Statements have `?` in place of values. May be used from any thread."""

    def rows(self, statement: str, *values: str) -> list[Any]:
        """Raises UnreadableError."""
        ...


def is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def open_url(url: str) -> tuple[Database, Path]:
    """The database, and its file or, without one, the working directory."""
    if url.startswith(SQLITE):
        path = Path(unquote(url[len(SQLITE) :]))
        if not is_sqlite(path):
            raise UnreadableError(f"{path} is not an SQLite database.")
        return SqliteDatabase(path), path
    if _POSTGRES.match(url):
        return PostgresDatabase(url), Path()
    scheme = url.partition("://")[0]
    if scheme in ("http", "https"):
        raise UnreadableError(
            f"{url} is a server; name what it stores: its mlruns folder, its SQLite file, or "
            "postgresql://…"
        )
    raise UnreadableError(
        f"A database with {scheme}:// cannot be read; sqlite:/// and postgresql:// can."
    )


class SqliteDatabase:
    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise UnreadableError(f"{path} cannot be opened ({error}).") from error
        weakref.finalize(self, self._connection.close)

    def rows(self, statement: str, *values: str) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise UnreadableError(f"{self._path} is not a database of MLflow ({error}).") from error


class PostgresDatabase:
    def __init__(self, url: str) -> None:
        self._name = _without_password(url)
        self._lock = threading.Lock()
        driver = _driver(self._name)
        self._error: type[Exception] = driver.Error
        try:
            self._connection = driver.connect(_POSTGRES.sub("postgresql://", url))
            self._connection.autocommit = True
        except self._error as error:
            raise UnreadableError(f"{self._name} cannot be opened ({error}).") from error
        weakref.finalize(self, self._connection.close)
        self.rows("SET default_transaction_read_only = on")

    def rows(self, statement: str, *values: str) -> list[Any]:
        try:
            with self._lock, self._connection.cursor() as cursor:
                cursor.execute(statement.replace("?", "%s"), values or None)
                return list(cursor.fetchall()) if cursor.description else []
        except self._error as error:
            raise UnreadableError(f"{self._name} is not a database of MLflow ({error}).") from error


def _driver(name: str) -> Any:
    for driver in _DRIVERS:
        with contextlib.suppress(ImportError):
            return importlib.import_module(driver)
    raise UnreadableError(
        f"Reading {name} needs a driver for PostgreSQL: pip install 'psycopg[binary]'"
    )


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
