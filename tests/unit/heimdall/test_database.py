"""The database settings, and database errors at start."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError

from heimdall.database import (
    POSTGRESQL,
    SQLITE,
    DatabaseUrlError,
    database_settings,
    describe_failure,
    parse_database_url,
)


def settings_of(url: str | None, folder: Path = Path("/data"), **more: bool) -> dict[str, Any]:
    given = parse_database_url(url) if url else None
    return database_settings(given, folder, pgbouncer=more.get("pgbouncer", False), lease_seconds=9)


@pytest.mark.parametrize("name", ["R&D #1", "what?", "100%20 %zz", "a b", "ünïcode 😀", "a;b'c\""])
def test_sqlite_database_is_in_the_data_folder_with_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    found = settings_of(None, folder)
    assert found["NAME"] == str(folder / "heimdall.sqlite3")
    connection = sqlite3.connect(found["NAME"])
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert [path.name for path in folder.iterdir()] == ["heimdall.sqlite3"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_sqlite_url_is_decoded_and_its_option_applied(tmp_path: Path) -> None:
    found = settings_of(f"sqlite:///{tmp_path}/a%3Fb%20#c.db?timeout=3")
    assert (found["ENGINE"], found["NAME"]) == (SQLITE, f"{tmp_path}/a?b #c.db")
    assert found["OPTIONS"]["timeout"] == 3
    assert found["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite://heimdall.db", "there are three slashes before it"),
        ("sqlite://", "there are three slashes before it"),
        ("sqlite:heimdall.db", "there are three slashes before it"),
        ("sqlite:///", "has no file"),
        ("sqlite:///:memory:", "a database in memory is lost immediately"),
        ("sqlite:////nowhere/x.db", "'/nowhere' is not a folder"),
        ("sqlite:////tmp", "'/tmp' is a folder"),
        ("sqlite:////tmp/x.db?mode=ro", "unknown option 'mode'; the only option is timeout"),
        ("sqlite:////tmp/x.db?timeout=x", "timeout='x', which is not a number of seconds"),
        ("postgres://u:p@h/n?foo=1", 'has an invalid connection option "foo"'),
        ("postgres://u:p/q@h/n", "is not the URL of a PostgreSQL or SQLite database"),
        ("postgres://u:p#q@h/n", "is not the URL of a PostgreSQL or SQLite database"),
        ("postgres://u:p@h/n#x", "has an unescaped #"),
        ("postgres://u:p@h:99999/n", "is not the URL of a PostgreSQL or SQLite database"),
    ],
)
def test_unusable_url_is_rejected_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(DatabaseUrlError) as caught:
        parse_database_url(url)
    assert reason in str(caught.value)


def test_options_of_a_postgresql_url_take_precedence() -> None:
    found = settings_of(
        "postgres://u:p%2F%40@h:1/n%20m?connect_timeout=9&sslmode=require"
        "&options=-c%20search_path%3Dx&application_name=lab"
    )
    assert (found["ENGINE"], found["NAME"], found["PASSWORD"]) == (POSTGRESQL, "n m", "p/@")
    options = found["OPTIONS"]
    assert (options["connect_timeout"], options["sslmode"]) == (9, "require")
    assert (options["application_name"], options["keepalives_idle"]) == ("lab", 4)
    # Of two values the later one counts, so the operator's own.
    assert options["options"] == ("-c idle_in_transaction_session_timeout=9000 -c search_path=x")


def test_pgbouncer_gets_no_startup_parameter_and_no_cursor() -> None:
    found = settings_of("postgres://u:p@h/n", pgbouncer=True)
    assert "options" not in found["OPTIONS"]
    assert found["DISABLE_SERVER_SIDE_CURSORS"] is True


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DatabaseError("file is not a database"), "is damaged, or not a SQLite database"),
        (DatabaseError("database disk image is malformed"), "is damaged"),
        (OperationalError("unable to open database file"), "cannot be used: unable to open"),
        (OperationalError("no such table: training_job"), ""),
    ],
)
def test_sqlite_failure_at_start_is_reported_in_one_sentence(
    error: DatabaseError, sentence: str
) -> None:
    found = describe_failure(error, {"ENGINE": SQLITE, "NAME": "/data/x.db"})
    assert sentence in found
    assert bool(found) == bool(sentence)
