"""Checkpoints of a run: what they hold, how they are written and read, which may be deleted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heimdall_sdk.checkpoint_names import (
    BESTS,
    EPOCHS,
    KEEP_LAST,
    checkpoint_epoch,
    checkpoint_path,
    checksum_path,
    newest_first,
)
from heimdall_sdk.errors import CheckpointError
from heimdall_sdk.state_file import StateFile, serialize

_PART = ".part"


@dataclass(frozen=True)
class Facts:
    """Facts that a checkpoint records in addition to the objects."""

    epoch: int
    step: int = 0
    best_epoch: int | None = None
    best_value: float | None = None

    def as_metadata(self) -> dict[str, str]:
        return {name: repr(value) for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Facts:
        best_epoch, best_value = metadata.get("best_epoch"), metadata.get("best_value")
        return cls(
            epoch=int(metadata["epoch"]),
            step=int(metadata.get("step", 0)),
            best_epoch=None if best_epoch is None else int(best_epoch),
            best_value=None if best_value is None else float(best_value),
        )


@dataclass(frozen=True)
class Snapshot:
    """The content of a checkpoint, copied while training waits, and written while it continues."""

    facts: Facts
    parts: list[memoryview]

    @classmethod
    def take(cls, objects: Mapping[str, object], facts: Facts) -> Snapshot:
        """Raises CheckpointError that names what cannot be stored."""
        return cls(facts, serialize(objects, facts.as_metadata()))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and whose checksum matches."""

    path: Path
    facts: Facts
    file: StateFile

    @property
    def object_names(self) -> list[str]:
        return self.file.object_names

    def object(self, name: str) -> Any:
        try:
            return self.file.object(name)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise CheckpointError(f"{self.path} is malformed at {name!r}: {error}") from error


@dataclass(frozen=True)
class Resumed:
    """The checkpoint to continue from, None without one; `unusable` says why each newer one is
    not used."""

    checkpoint: Checkpoint | None
    unusable: list[str]


@dataclass(frozen=True)
class CheckpointStore:
    """The folder of this run, and those of earlier attempts, which are only read.

    An earlier attempt may have been ahead of Heimdall's database, which was unavailable: its
    metrics since the newest checkpoint that the job knows are lost, and its files count only up
    to that one.
    """

    folder: Path
    earlier: tuple[Path, ...] = field(default=())

    def write(self, snapshot: Snapshot, *, is_best: bool = False, is_newest: bool = True) -> Path:
        """Write durably; the best checkpoint first, because the newest one refers to it."""
        epoch = snapshot.facts.epoch
        path = checkpoint_path(self.folder, EPOCHS if is_newest else BESTS, epoch)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = _temporary_path(path)
            try:
                digest = hashlib.sha256()
                with temporary.open("wb") as file:
                    for part in snapshot.parts:
                        file.write(part)
                        digest.update(part)
                    file.flush()
                    os.fsync(file.fileno())
                if is_best and is_newest:
                    self._publish_best(temporary, epoch, digest.hexdigest())
                _publish(temporary, path, digest.hexdigest())
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint of epoch {epoch} cannot be written to {self.folder}: "
                f"{error.strerror or error}. Fix that and resume; earlier checkpoints are kept"
            ) from error
        return path

    def mark_best(self, epoch: int) -> None:
        """Keep the checkpoint of this epoch as the best, if it still exists."""
        path = checkpoint_path(self.folder, EPOCHS, epoch)
        with contextlib.suppress(OSError, IndexError):
            self._publish_best(path, epoch, _expected_digest(path))

    def _publish_best(self, complete: Path, epoch: int, digest: str) -> None:
        best = checkpoint_path(self.folder, BESTS, epoch)
        temporary = _temporary_path(best)
        try:
            _link_or_copy(complete, temporary)
            _publish(temporary, best, digest)
        finally:
            temporary.unlink(missing_ok=True)

    def prune(self, epoch: int) -> None:
        """Delete all up to `epoch` but the newest two and the newest best; keep later ones."""
        for kind, keep in ((EPOCHS, KEEP_LAST), (BESTS, 1)):
            found = [
                path
                for path in newest_first([self.folder], kind)
                if checkpoint_epoch(path) <= epoch
            ]
            for path in found[keep:]:
                path.unlink(missing_ok=True)
                checksum_path(path).unlink(missing_ok=True)

    def remove_incomplete(self) -> None:
        """Delete partial files of a killed process; only while no other process writes."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name.endswith(_PART):
                    path.unlink(missing_ok=True)

    def resume(self, newest: Path | None = None) -> Resumed:
        """Read `newest`; if damaged or missing, the one before it.

        Without `newest`, read the newest in the folder of this run.

        If all are missing, the training starts from epoch 1: after a restore of Heimdall's
        database, the job may name a file that was deleted since.
        """
        unusable: list[str] = []
        is_damaged = False
        for path in self._candidates(newest):
            if not path.is_file():
                unusable.append(f"{path} is missing")
                continue
            try:
                return Resumed(read_checkpoint(path), unusable)
            except CheckpointError as error:
                unusable.append(str(error))
                is_damaged = True
        if is_damaged:
            raise CheckpointError("No checkpoint can be read: " + "; ".join(unusable))
        return Resumed(None, unusable)

    def _candidates(self, newest: Path | None) -> list[Path]:
        if newest is None:
            return newest_first([self.folder], EPOCHS)
        found = newest_first({newest.parent, self.folder, *self.earlier}, EPOCHS)
        epoch = checkpoint_epoch(newest)
        older = (path for path in found if checkpoint_epoch(path) <= epoch and path != newest)
        return [newest, *older]

    def find_best(self, epoch: int) -> Path | None:
        """The intact best checkpoint of `epoch`, else of a later one, which will be reached again.

        One of an earlier attempt is copied into the folder of this run.
        """
        folders = {self.folder, *self.earlier}
        for path in reversed(newest_first(folders, BESTS)):
            if checkpoint_epoch(path) < epoch:
                continue
            with contextlib.suppress(CheckpointError, OSError):
                read_checkpoint(path)
                if path.parent != self.folder:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    self._publish_best(path, checkpoint_epoch(path), _expected_digest(path))
                return checkpoint_path(self.folder, BESTS, checkpoint_epoch(path))
        return None

    def result(self, best_epoch: int | None) -> Path | None:
        """The checkpoint that represents the finished training: the best, else the newest."""
        if best_epoch is not None:
            best = checkpoint_path(self.folder, BESTS, best_epoch)
            if best.exists():
                return best
        for kind in (BESTS, EPOCHS):
            for path in newest_first([self.folder], kind):
                return path
        return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one written by the SDK; CheckpointError if it is missing, damaged or of another kind."""
    file = read_tensors(path, must_have_checksum=True)
    try:
        if not file.is_checkpoint:
            raise ValueError("it was not written by heimdall_sdk")
        facts = Facts.from_metadata(file.metadata)
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a checkpoint: {error}") from error
    return Checkpoint(path, facts, file)


def read_tensors(path: Path, must_have_checksum: bool = False) -> StateFile:
    """Read any safetensors file; its checksum must match where it has one."""
    try:
        content = bytearray(path.stat().st_size)
        with path.open("rb") as file:
            size = file.readinto(content)
        expected = (
            _expected_digest(path) if must_have_checksum or checksum_path(path).exists() else None
        )
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if size != len(content) or expected not in (None, digest):
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    try:
        return StateFile(content)
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def reading_from(path: Path, what: str, load: Callable[[], object]) -> None:
    """Call `load`; raise CheckpointError naming the file if the object refuses its state."""
    try:
        load()
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} does not fit {what}: {error}") from error


def _expected_digest(path: Path) -> str:
    return checksum_path(path).read_text(encoding="ascii").split()[0]


def _publish(temporary: Path, path: Path, digest: str) -> None:
    """Rename a complete, synced file to `path`, its checksum first.

    A checksum without its file is harmless; a file without its checksum is lost. An existing file
    is removed first: for a moment it would not match the new checksum.
    """
    path.unlink(missing_ok=True)
    checksum = checksum_path(path)
    checksum_temporary = _temporary_path(checksum)
    try:
        with checksum_temporary.open("w", encoding="ascii") as file:
            file.write(f"{digest}  {path.name}\n")
            file.flush()
            os.fsync(file.fileno())
        checksum_temporary.replace(checksum)
    finally:
        checksum_temporary.unlink(missing_ok=True)
    temporary.replace(path)
    _sync_folder(path.parent)


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}{_PART}")


def _sync_folder(folder: Path) -> None:
    # A rename is on disk only once its folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
