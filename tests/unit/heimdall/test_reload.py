"""`serve --reload` restarts the server after a change."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from heimdall import reload
from heimdall.reload import modification_times, run_with_reload
from tests.polling import eventually

SERVER = "import sys, time; open(sys.argv[1], 'a').write('started\\n'); {body}"
Start = Callable[[str], "Future[int]"]


@pytest.fixture
def started(tmp_path: Path) -> Callable[[], int]:
    log = tmp_path / "log"
    return lambda: len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.02)
    source = tmp_path / "source"
    source.mkdir()
    (source / "views.py").write_text("1")
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:

        def run(body: str) -> Future[int]:
            command = [sys.executable, "-c", SERVER.format(body=body), str(tmp_path / "log")]
            return pool.submit(run_with_reload, command, [source], stop)

        yield run
        stop.set()


def test_server_restarts_after_change(
    tmp_path: Path, start: Start, started: Callable[[], int]
) -> None:
    start("time.sleep(60)")
    eventually(lambda: started() == 1)
    (tmp_path / "source/views.py").write_text("2")
    eventually(lambda: started() == 2)


def test_failed_server_starts_again_after_change_only(
    tmp_path: Path, start: Start, started: Callable[[], int]
) -> None:
    running = start("sys.exit(1)")
    eventually(lambda: started() == 1)
    time.sleep(0.2)
    assert started() == 1
    assert not running.done()
    (tmp_path / "source/new.html").write_text("")
    eventually(lambda: started() == 2)


def test_reloader_exits_when_the_server_exits(start: Start, started: Callable[[], int]) -> None:
    assert start("pass").result(20) == 0
    assert started() == 1


def test_only_source_files_are_watched(tmp_path: Path) -> None:
    for name in ("a.py", "b.js", "c.pyc", "d.sqlite3"):
        (tmp_path / name).touch()
    assert {path.name for path in modification_times([tmp_path])} == {"a.py", "b.js"}
