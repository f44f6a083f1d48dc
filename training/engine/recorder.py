"""Writes an epoch's checkpoint, and tells of it, while the next epoch is trained."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from training.engine.checkpoint import Store
from training.engine.loop import EpochResult
from training.engine.snapshot import Snapshot
from training.engine.state import TrainState

Tell = Callable[[EpochResult, Path], None]


class Recorder:
    """The checkpoint first, then the word: an epoch is told once it is safely on disk.

    One epoch is under way at most; the next one waits for it. So a kill costs no more than where
    training itself waits for the disk. What goes wrong meanwhile (a full disk) is raised by the
    next call. Leaving the context waits for what is under way.
    """

    def __init__(self, store: Store, tell: Tell) -> None:
        self._store, self._tell = store, tell
        self._next: tuple[Snapshot, EpochResult] | None = None
        self._error: Exception | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if kind is None:
            self.check()

    @property
    def is_idle(self) -> bool:
        """Whether all epochs so far have been told."""
        return self._next is None

    def check(self) -> None:
        """Raise what went wrong since the last call."""
        if self._error is not None:
            raise self._error

    def keep(self, state: TrainState, result: EpochResult) -> None:
        """Take the state as it is now; the rest happens while training goes on."""
        taken = Snapshot.of(state)
        with self._changed:
            self._wait()
            self._next = taken, result
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until all epochs have been told."""
        with self._changed:
            self._wait()

    def _wait(self) -> None:
        self._changed.wait_for(lambda: self.is_idle)
        self.check()

    def _work(self) -> None:
        while (given := self._given()) is not None:
            taken, result = given
            try:
                self._tell(result, self._store.write(taken, result.is_best))
            except Exception as error:
                self._error = error
            with self._changed:
                self._next = None
                self._changed.notify_all()

    def _given(self) -> tuple[Snapshot, EpochResult] | None:
        """The next epoch; None where there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._next is not None or self._closing)
            return self._next
