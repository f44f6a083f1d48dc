"""Finds the TensorBoard event files that one attempt of a program writes.

Jobs of one program run in the same folder, possibly at the same time, and people may start the
script there by hand. So a file in that folder belongs to the attempt only if one of its processes
writes it; a file in the attempt's own folder always does.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

from heimdall_sdk.event_files import MARK
from training.jobs.artifacts import SAVED

# events.out.tfevents.TIME.HOST.PROCESS.NUMBER; tensorboardX leaves out process and number.
_WRITER = re.compile(
    rf"{MARK}\.(?P<time>\d+)\.{re.escape(socket.gethostname())}"
    r"(?:\.(?P<process>\d+)\.\d+)?(?:\.|$)"
)
_SKIPPED_NAMES = ("__pycache__", "node_modules", "site-packages")
ENVIRONMENT = "pyvenv.cfg"  # in the folder of a virtual environment
MAX_FOLDERS, MAX_DEPTH, MAX_ENTRIES = 2_000, 8, 10_000
# A folder is read again if its time of change is as recent as this: clocks of files are coarse.
COARSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Folder:
    """The entries of a folder, and its modification time in nanoseconds when it was read."""

    changed_at: int
    read_at: float
    folders: list[Path]
    files: list[Path]


class Tree:
    """The event files below a folder; a folder is read again only after it has changed."""

    def __init__(self, root: Path, skipped: Path | None = None) -> None:
        self.root, self._skipped = root, skipped
        self._known: dict[Path, _Folder] = {}

    def files(self) -> Iterator[Path]:
        """Nearest to the root first. Hidden folders and environments are left out."""
        level, seen = [self.root], set[tuple[int, int]]()
        known, self._known = self._known, {}  # without folders that were removed
        for _ in range(MAX_DEPTH):
            below: list[Path] = []
            for folder in level:
                if len(seen) == MAX_FOLDERS:
                    return
                if folder == self._skipped:
                    continue
                try:
                    status = folder.stat()
                    if (status.st_dev, status.st_ino) in seen:  # by a symbolic link
                        continue
                    seen.add((status.st_dev, status.st_ino))
                    found = _read(folder, status.st_mtime_ns, known.get(folder))
                except OSError:  # it was removed
                    continue
                self._known[folder] = found
                yield from found.files
                below += found.folders
            level = below


def _read(folder: Path, changed_at: int, known: _Folder | None) -> _Folder:
    if (
        known
        and known.changed_at == changed_at
        and known.read_at - changed_at / 1e9 > COARSE_SECONDS
    ):
        return known
    read_at = time.time()
    folders, files = list[Path](), list[Path]()
    with os.scandir(folder) as entries:
        for entry in islice(entries, MAX_ENTRIES):
            if entry.name == ENVIRONMENT:
                folders, files = [], []
                break
            # A link that leads nowhere or where we may not look, or a name that is not UTF-8,
            # which cannot be stored.
            with suppress(OSError, UnicodeEncodeError):
                entry.name.encode()
                if MARK in entry.name and entry.is_file():
                    files.append(folder / entry.name)
                elif (
                    not entry.name.startswith(".")
                    and entry.name not in _SKIPPED_NAMES
                    and entry.is_dir()
                ):
                    folders.append(folder / entry.name)
    return _Folder(changed_at, read_at, sorted(folders), sorted(files))


class EventFileSearch:
    """Created before the program starts: files that are there already are not its own."""

    def __init__(self, own: Path, shared: Path, is_alone: Callable[[], bool]) -> None:
        """`is_alone` returns whether no other job of the program has run since the search began."""
        # A copy of an event file may be a file of the job.
        self._own, self._shared = Tree(own, skipped=own / SAVED), Tree(shared)
        self._is_alone = is_alone
        self._decided = set(self._shared.files())
        self._processes: set[int] = set()
        self.undecided: set[Path] = set()
        self.walk_seconds = 0.0  # of processor time, by the last call of `find`

    def find(self, pid: int) -> list[tuple[Path, Path]]:
        """New files, oldest first, with the root that each is below.

        `pid` is the process whose descendants may have written them. Files that another job may
        have written are left out, and in `undecided`.
        """
        began = time.thread_time()
        own = set(self._own.files()) - self._decided
        shared = set(self._shared.files()) - self._decided - own
        self.walk_seconds = time.thread_time() - began
        self._decided |= own | shared
        if shared:
            self._processes |= _tree(pid)
            shared = {path for path in shared if self._is_own(path)}
        found = [(path, self._own.root) for path in own]
        found += [(path, self._shared.root) for path in shared]
        return sorted(found, key=lambda one: (_started_at(one[0]), len(one[0].parts), one[0]))

    def _is_own(self, path: Path) -> bool:
        name = _WRITER.search(path.name)
        if name:  # otherwise it is of another machine
            writers = {int(name["process"])} if name["process"] else _holders(path)
            if writers & self._processes:
                return True
            if any(map(psutil.pid_exists, writers)):
                return False
            # The writer has ended, and may have been a process of a short life.
            if self._is_alone():
                return True
        self.undecided.add(path)
        return False


def _started_at(path: Path) -> int:
    """The seconds in its name, of the time when the file was created."""
    found = re.search(rf"{MARK}\.(\d+)", path.name)
    return int(found[1]) if found else 0


def _tree(pid: int) -> set[int]:
    try:
        descendants = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return {pid}
    return {pid, *(process.pid for process in descendants)}


def _holders(path: Path) -> set[int]:
    """The processes that have the file open, if visible to this process (Linux)."""
    try:
        wanted = path.stat()
    except OSError:
        return set()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            with os.scandir(process / "fd") as handles:
                if any(_is_same_file(handle, wanted) for handle in handles):
                    found.add(int(process.name))
        except OSError:  # of another user, or it has ended
            continue
    return found


def _is_same_file(handle: os.DirEntry[str], wanted: os.stat_result) -> bool:
    try:
        status = handle.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and os.path.samestat(status, wanted)
