"""Follows the TensorBoard event files of a running program."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from pydantic import BaseModel

from heimdall_sdk.event_files import DamagedError, Event, read_events
from heimdall_sdk.messages import Point
from training.programs.durable_write import temporary_path
from training.workers.event_file_search import EventFileSearch
from training.workers.event_records import EventRecorder

POLL_SECONDS = 0.5
# Limits of one poll; the next one continues.
READ_SECONDS, READ_BYTES = 0.1, 4 << 20
SEARCH_TIME_SHARE = 0.01
MAX_FILES = 1_000
STATE = "event-files.json"
# Where libraries and scripts look for the folder of their event files.
VARIABLES = ("TENSORBOARD_LOGDIR", "TENSORBOARD_LOGGING_DIR")
# The name of a folder that add_hparams makes: seconds since 1970.
_SESSION = re.compile(r"\d{10}\.\d+")


def tensorboard_variables(folder: Path) -> dict[str, str]:
    """The environment of a program; `folder` is that of its attempt."""
    return {name: str(folder / "tensorboard") for name in VARIABLES if name not in os.environ}


@dataclass(slots=True)
class _File:
    path: Path
    folder: str
    offset: int = 0
    # The size at which the file was read to its end; an incomplete record may follow `offset`.
    size: int = -1
    inode: int = 0
    growing: bool = True  # not of an earlier attempt


class _State(BaseModel):
    """Content of the state file of an attempt: path, folder and offset of each event file."""

    files: list[tuple[Path, str, int]]
    prefixes: dict[str, str]


class EventFollower:
    """Reads new records of the files. The caller stores them, then calls `save`.

    The offsets are in a file of the attempt, so the next attempt reads what this one did not store.
    Reading twice stores nothing twice: a point replaces that of the same series and step.
    """

    def __init__(
        self,
        own: Path,
        shared: Path,
        earlier: Sequence[Path] = (),
        is_alone: Callable[[], bool] = lambda: True,
        *,
        steps_are_epochs: bool = False,
    ) -> None:
        """`own` is the folder of the attempt, `shared` that of the program.

        `earlier` are the folders of earlier attempts. `is_alone` returns whether no other job of
        the program has run since the follower was created.
        """
        self.has_more = False
        self._own, self._shared = own, shared
        self._search = EventFileSearch(own, shared, is_alone)
        self._recorder = EventRecorder(own, steps_are_epochs)
        self._files: deque[_File] = deque()
        self._prefixes: dict[str, str] = {}  # of the series of a folder
        self._first: str | None = None
        self._has_found = False
        self._next_search = 0.0
        self._saved: _State | None = None
        self._continue(earlier)

    @property
    def has_files(self) -> bool:
        return bool(self._files)

    def exclude(self, names: set[str]) -> None:
        """Leave out series that the program reports itself."""
        self._recorder.excluded |= names

    def poll(self, pid: int, *, final: bool = False) -> list[Point]:
        """The new points of the process and its descendants.

        `has_more` is whether more could have been read.
        """
        now = time.monotonic()
        if final or now >= self._next_search:
            for path, root in self._search.find(pid):
                self._follow(path, root)
            self._next_search = now + self._search.walk_seconds / SEARCH_TIME_SHARE
        if final and self._search.undecided and not self._has_found:
            self._note_undecided()
        budget = _Budget()
        for _ in range(len(self._files)):
            if budget.is_spent():
                break
            file = self._files.popleft()
            if self._read(file, budget):
                self._files.append(file)
        self.has_more = budget.is_spent()
        return self._recorder.take_points()

    def take_notes(self) -> list[str]:
        """Notes for the timeline of the job, each once."""
        return self._recorder.take_notes()

    def save(self) -> None:
        """Save the offsets; call it once all points that `poll` returned are stored."""
        files = [(file.path, file.folder, file.offset) for file in self._files]
        state = _State(files=files, prefixes=self._prefixes.copy())
        if state == self._saved:
            return
        temporary = temporary_path(self._own / STATE)
        with suppress(OSError):  # the next call tries again
            temporary.write_text(state.model_dump_json())
            temporary.replace(self._own / STATE)
            self._saved = state

    def _continue(self, earlier: Sequence[Path]) -> None:
        """Continue with the files of the newest earlier attempt that saved its state."""
        for folder in reversed(earlier):
            with suppress(OSError, ValueError):
                state = _State.model_validate_json((folder / STATE).read_bytes())
                self._prefixes = state.prefixes
                self._files.extend(_File(*file, growing=False) for file in state.files)
                return

    def _follow(self, path: Path, root: Path) -> None:
        if len(self._files) >= MAX_FILES:
            self._recorder.note(f"TensorBoard: only {MAX_FILES:,} event files are read.")
            return
        # The folder of the attempt differs in each attempt, this name does not.
        kind = "own" if root == self._own else "program"
        folder = PurePath(kind, path.parent.relative_to(root)).as_posix()
        if folder not in self._prefixes:
            self._prefixes[folder] = self._prefix(folder)
        if self._first is None and not self._prefixes[folder]:
            self._first = folder
        self._files.append(_File(path, folder))
        self._has_found = True

    def _note_undecided(self) -> None:
        name = min(self._search.undecided).name
        self._recorder.note(
            f"TensorBoard: the file {name} may belong to another job of this program, and was not "
            f"read. Scripts can write below the folder in {VARIABLES[0]}."
        )

    def _prefix(self, folder: str) -> str:
        """Empty for the first folder, else the path from the first folder or from its parents."""
        if self._first is None:
            return ""
        parts, first = PurePath(folder).parts, PurePath(self._first).parts
        shared = 1  # the first part is the kind of root
        while shared < min(len(parts), len(first)) and parts[shared] == first[shared]:
            shared += 1
        # A parent of the first folder has its own name.
        different = parts[shared:] or parts[-1:]
        return "".join(f"{part}/" for part in different if not _SESSION.fullmatch(part))

    def _read(self, file: _File, budget: _Budget) -> bool:
        """Record new events; return whether to read the file again at the next poll."""
        events: list[Event] = []
        try:
            status = file.path.stat()
            if file.inode not in (0, status.st_ino) or status.st_size < file.offset:
                file.offset, file.size = 0, -1  # another file of that name
            file.inode = status.st_ino
            if status.st_size == file.size:
                return file.growing
            for event in read_events(file.path, file.offset):
                budget.spend(event.end - file.offset)
                file.offset = event.end
                events.append(event)
                if budget.is_spent():
                    return True
            file.size = status.st_size
        except FileNotFoundError:
            return False
        except DamagedError as error:
            self._recorder.note(
                f"TensorBoard: {file.path.name} is damaged at byte {error.position:,} "
                f"({error.reason}). The rest of the file is not read."
            )
            return False
        except OSError:
            return True  # the next poll tries again
        finally:
            self._recorder.add(self._prefixes.get(file.folder, ""), events)
        return file.growing


class _Budget:
    """What one poll may read."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + READ_SECONDS
        self._left = READ_BYTES

    def spend(self, count: int) -> None:
        self._left -= count

    def is_spent(self) -> bool:
        return self._left <= 0 or time.monotonic() >= self._deadline
