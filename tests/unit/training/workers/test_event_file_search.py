"""Which event files belong to an attempt if jobs of a program share its folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.polling import eventually
from training.workers.event_file_search import EventFileSearch, Tree

HOST = socket.gethostname()
OTHER = os.getpid()  # a process that is not the program's
OPEN_FILE = """
import pathlib, sys, time
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
file = path.open("wb")
time.sleep(60)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return folder(tmp_path / "attempt")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return folder(tmp_path / "program")


@pytest.fixture
def start(shared: Path) -> Iterator[Callable[[], int]]:
    """Starts a program with a child that opens a file; returns its process."""
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    started: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        path = shared / "open" / str(len(started)) / f"events.out.tfevents.5.{HOST}"
        command = [sys.executable, "-c", parent, OPEN_FILE, str(path)]
        started.append(subprocess.Popen(command, start_new_session=True))
        eventually(path.exists)
        return started[-1].pid

    yield start
    for process in started:
        os.killpg(process.pid, 9)
        process.wait()


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(found: list[tuple[Path, Path]]) -> list[str]:
    return [path.parent.name for path, _ in found]


def test_files_in_the_attempt_folder_belong_to_the_attempt(own: Path, shared: Path) -> None:
    search = EventFileSearch(own, shared, lambda: False)
    path = touch(own / "tensorboard" / "events.out.tfevents.5.another-host.1.0")
    touch(own / "artifacts" / "events.out.tfevents.5.copy")
    assert search.find(OTHER) == [(path, own)]
    assert search.find(OTHER) == []


def test_files_from_before_the_attempt_are_ignored(own: Path, shared: Path) -> None:
    touch(shared / "runs" / "old" / f"events.out.tfevents.5.{HOST}.{OTHER}.0")
    search = EventFileSearch(own, shared, lambda: True)
    new = touch(shared / "runs" / "new" / f"events.out.tfevents.5.{HOST}.{OTHER}.0")
    assert search.find(OTHER) == [(new, shared)]


def test_file_named_after_another_process_is_ignored(
    own: Path, shared: Path, start: Callable[[], int]
) -> None:
    program = start()
    search = EventFileSearch(own, shared, lambda: True)
    touch(shared / "runs" / "ours" / f"events.out.tfevents.5.{HOST}.{program}.0")
    touch(shared / "runs" / "theirs" / f"events.out.tfevents.5.{HOST}.{OTHER}.0.v2")
    assert names(search.find(program)) == ["ours"]
    assert not search.undecided


def test_file_without_a_pid_in_its_name_belongs_to_the_program_that_has_it_open(
    own: Path, shared: Path, start: Callable[[], int]
) -> None:
    search = EventFileSearch(own, shared, lambda: True)
    programs = [start(), start()]
    assert names(search.find(programs[1])) == ["1"]
    assert not search.undecided


def test_file_of_an_exited_process_is_used_only_if_no_other_job_ran(
    own: Path, shared: Path
) -> None:
    alone = [True, False]
    search = EventFileSearch(own, shared, lambda: alone.pop(0))
    touch(shared / "first" / f"events.out.tfevents.5.{HOST}")
    assert names(search.find(OTHER)) == ["first"]
    second = touch(shared / "second" / f"events.out.tfevents.5.{HOST}.suffix")
    assert search.find(OTHER) == []
    assert search.undecided == {second}


def test_file_of_another_machine_is_ignored(own: Path, shared: Path) -> None:
    search = EventFileSearch(own, shared, lambda: True)
    for name in ("other", f"other.{OTHER}.0", f"x{HOST}"):
        touch(shared / f"events.out.tfevents.5.{name}")
    assert search.find(OTHER) == []
    assert len(search.undecided) == 3


def test_older_files_and_parents_come_first(own: Path, shared: Path) -> None:
    search = EventFileSearch(own, shared, lambda: True)
    for path in ("b/events.out.tfevents.9.h", "z/events.out.tfevents.8.h",
                 "a/c/events.out.tfevents.9.h", "a/events.out.tfevents.9.h"):  # fmt: skip
        touch(own / path)
    found = [path.parent.relative_to(own).as_posix() for path, _ in search.find(OTHER)]
    assert found == ["z", "a", "b", "a/c"]


def test_tree_finds_new_entries_in_known_folders(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert list(tree.files()) == []
    first = touch(tmp_path / "a" / "events.out.tfevents.1")
    assert list(tree.files()) == [first]
    second = touch(tmp_path / "a" / "b" / "events.out.tfevents.2")
    assert list(tree.files()) == [first, second]
    first.unlink()
    assert list(tree.files()) == [second]


def test_tree_skips_hidden_folders_environments_and_non_files(tmp_path: Path) -> None:
    for path in (".git/tfevents", "node_modules/tfevents", "a/.x/tfevents"):
        touch(tmp_path / path)
    for name in ("pyvenv.cfg", "a/tfevents", "lib/tfevents", "tfevents"):
        touch(tmp_path / "env" / name)
    os.mkfifo(tmp_path / "tfevents")
    assert list(Tree(tmp_path).files()) == []


def test_tree_follows_a_link_once(tmp_path: Path) -> None:
    path = touch(tmp_path / "elsewhere" / "events.out.tfevents.1")
    root = folder(tmp_path / "root")
    (root / "runs").symlink_to(path.parent)
    (path.parent / "loop").symlink_to(root)
    assert list(Tree(root).files()) == [root / "runs" / path.name]


def test_tree_does_not_read_unchanged_folders_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a" / "events.out.tfevents.1")
    for path in (tmp_path, tmp_path / "a"):
        os.utime(path, (time.time() - 10, time.time() - 10))
    tree = Tree(tmp_path)
    expected = list(tree.files())
    monkeypatch.setattr("os.scandir", lambda path: pytest.fail(f"{path} is read again"))
    assert list(tree.files()) == expected


def test_dangling_link_does_not_hide_the_folder(tmp_path: Path) -> None:
    path = touch(tmp_path / "runs" / "events.out.tfevents.1")
    for name in ("loop", "loop.tfevents"):
        (tmp_path / name).symlink_to(name)
        (path.parent / name).symlink_to(name)
    assert list(Tree(tmp_path).files()) == [path]


def test_names_that_no_database_stores_are_skipped(tmp_path: Path) -> None:
    path = touch(tmp_path / "L\u00e4ufe" / "events.out.tfevents.1")
    for name in (b"L\xe4ufe/events.out.tfevents.1", b"events.out.tfevents.\xe4"):
        touch(tmp_path / os.fsdecode(name))
    assert list(Tree(tmp_path).files()) == [path]


def test_tree_drops_removed_folders(tmp_path: Path) -> None:
    """A script may create a folder for each step."""
    tree = Tree(tmp_path)
    for number in range(20):
        made = folder(tmp_path / str(number))
        assert list(tree.files()) == []
        made.rmdir()
    known = [one for one in vars(tree).values() if isinstance(one, dict)]
    assert known and all(len(one) <= 2 for one in known)
