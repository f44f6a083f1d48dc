"""Writes checkpoints in a separate thread, so that training waits only for the copy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from heimdall_sdk.checkpoints import CheckpointStore, Snapshot
from heimdall_sdk.errors import CheckpointError

# Shorter epochs share a checkpoint: syncing files takes longer than they do.
INTERVAL_SECONDS = 0.1


class CheckpointWriter:
    """Writes the newest and the best of the pending snapshots."""

    def __init__(
        self, store: CheckpointStore, on_written: Callable[[int, Path], None], prune: bool
    ) -> None:
        self._store = store
        self._on_written = on_written
        self._prune = prune
        self._changed = threading.Condition()
        self._newest: Snapshot | None = None
        self._best: Snapshot | None = None
        self._writing: Snapshot | None = None
        self._mark: int | None = None  # an epoch that is already written, and is the best
        self._flushing = False
        self._closed = False
        self._error: CheckpointError | None = None
        threading.Thread(target=self._run, name="heimdall-checkpoints", daemon=True).start()

    def submit(self, snapshot: Snapshot, is_best: bool) -> None:
        with self._changed:
            self._newest = snapshot
            if is_best:
                self._best, self._mark = snapshot, None
            self._changed.notify_all()

    def mark_best(self, epoch: int) -> None:
        """The newest snapshot turned out to be the best."""
        with self._changed:
            for snapshot in (self._newest, self._writing):
                if snapshot is not None and snapshot.facts.epoch == epoch:
                    self._best, self._mark = snapshot, None
                    break
            else:
                self._best, self._mark = None, epoch
            self._changed.notify_all()

    def flush(self) -> CheckpointError | None:
        """Wait until all is written; return the error, if any."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_idle)
            self._flushing = False
        return self.take_error()

    def take_error(self) -> CheckpointError | None:
        error, self._error = self._error, None
        return error

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_work(self) -> bool:
        return self._newest is not None or self._best is not None or self._mark is not None

    def _is_idle(self) -> bool:
        return not self._has_work() and self._writing is None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._has_work() or self._closed)
                if self._closed:
                    return
                newest, best, mark = self._newest, self._best, self._mark
                self._newest = self._best = self._mark = None
                self._writing = newest or best
            try:
                self._write(newest, best, mark)
            except CheckpointError as error:
                self._error = error
            except Exception as error:
                self._error = CheckpointError(f"Writing a checkpoint failed: {error!r}")
            newest = best = None  # release the copy of the model
            with self._changed:
                self._writing = None
                self._changed.notify_all()
                # Let snapshots that follow immediately share the next write.
                self._changed.wait_for(lambda: self._flushing or self._closed, INTERVAL_SECONDS)

    def _write(self, newest: Snapshot | None, best: Snapshot | None, mark: int | None) -> None:
        if mark is not None:
            self._store.mark_best(mark)
        if best is not None and best is not newest:
            self._store.write(best, is_best=True, is_newest=False)
        if newest is not None:
            path = self._store.write(newest, is_best=newest is best)
            self._on_written(newest.facts.epoch, path)
            if self._prune:
                self._store.prune(newest.facts.epoch)
