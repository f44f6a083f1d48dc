"""The `Run` that `init` returns: the interface between a training script and Heimdall."""

from __future__ import annotations

import atexit
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Protocol, TypeVar, runtime_checkable

from heimdall_sdk import ranks
from heimdall_sdk.checkpoint_writer import CheckpointWriter
from heimdall_sdk.checkpoints import (
    Checkpoint,
    CheckpointStore,
    Facts,
    Snapshot,
    read_tensors,
    reading_from,
)
from heimdall_sdk.config import JsonDict
from heimdall_sdk.errors import CheckpointError, notify, notify_once
from heimdall_sdk.messages import PAUSE, Objective
from heimdall_sdk.random_state import end_workers, seed_generators
from heimdall_sdk.reporter import Reporter, Status

Mode = Literal["managed", "reported", "offline", "disabled"]
RunType = TypeVar("RunType", bound="Run")


class FolderLock(Protocol):
    """The lock that this run holds on its checkpoint folder."""

    def end(self, status: Status) -> None: ...

    def release(self) -> None: ...


@runtime_checkable
class Stateful(Protocol):
    """An object with a state dict, such as a model, optimizer, scheduler or sampler."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


class Run:
    """A training that reports to Heimdall. Use it as a context manager, or call `finish`.

    Reporting never raises and does not wait for the server. `restore`, `checkpoint` and `epochs`
    raise CheckpointError if a checkpoint cannot be read or written. Invalid arguments of these also
    raise.
    """

    def __init__(
        self,
        *,
        mode: Mode,
        run_id: str,
        name: str,
        config: JsonDict,
        reporter: Reporter,
        store: CheckpointStore,
        total_epochs: int | None = None,
        objective: Objective | None = None,
        seed: int | None = None,
        resume_from: Path | None = None,
        init_from: Path | None = None,
        folder_lock: FolderLock | None = None,
    ) -> None:
        self.mode: Mode = mode
        self.id = run_id
        self.name = name
        self.config = config
        self.total_epochs = total_epochs
        self.objective = objective
        #: Plain values of the checkpoint that `restore` read, by name.
        self.restored: dict[str, Any] = {}
        self._reporter = reporter
        self._store = store
        self._resume_from = resume_from
        self._init_from = init_from
        self._folder_lock = folder_lock
        self._seed = seed if seed is not None else _integer(config.get("seed")) or 0
        self._writes = mode != "disabled" and ranks.is_rank_zero()
        self._step = 0
        self._restored_epoch = 0
        self._checkpoint_epoch: int | None = None
        self._objects: dict[str, Stateful] = {}
        self._writer: CheckpointWriter | None = None
        # The newest value of the objective with its epoch, and the best of a checkpointed epoch.
        self._objective_value: tuple[int, float] | None = None
        self._best: tuple[int, float] | None = None
        self._started = False
        self._closed = False
        self._ended_early = False
        self._stop_was_read = False
        _register(self)

    def __enter__(self: RunType) -> RunType:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_with(error)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a disabled run, so that a copy in a child process reports nothing."""
        return _disabled_run, (self.id, self.name, self.config, self.total_epochs, self._seed)

    @property
    def directory(self) -> Path:
        """The folder of this run's checkpoints."""
        return self._store.folder

    @property
    def seed(self) -> int:
        return self._seed

    @property
    def should_stop(self) -> bool:
        """Whether a pause or cancel was requested. With several processes: on rank 0 only."""
        self._stop_was_read = self._stop_was_read or bool(self._reporter.stop_requested)
        return self._ended_early or bool(self._reporter.stop_requested)

    def log(
        self,
        data: Mapping[str, object] | None = None,
        /,
        *,
        epoch: int | None = None,
        step: int | None = None,
        **values: object,
    ) -> None:
        """Report numbers. With `epoch` they are that epoch's metrics; nested names join by `/`.

        `step` counts the calls if it is not given. NaN and infinities are kept. For a tensor on a
        GPU, `log` waits until it is computed, like `item()`.
        """
        try:
            if data:
                values = {**data, **values}
            numbers = {}
            for name, value in values.items():
                if type(value) is float:
                    numbers[name] = value
                else:
                    _add_numbers(numbers, name, value)
            step = self._step + 1 if step is None else int(step)
            self._step = step
            if not self._started:
                self._start()
            if epoch is not None:
                epoch = int(epoch)
                if self.objective is not None and self.objective.metric in numbers:
                    self._objective_value = (epoch, numbers[self.objective.metric])
            if numbers:
                self._reporter.put_point((step, time.time(), epoch, numbers))
        except Exception as error:
            notify_once(f"log {error}", f"log: {type(error).__name__}: {error}")

    def restore(self, **objects: Stateful) -> int:
        """Load the newest intact checkpoint into the objects; return its epoch, 0 without one.

        Plain values that were checkpointed are in `restored` afterwards. A new training that
        starts from another job's checkpoint loads the weights of its models only.
        """
        for name, value in objects.items():
            if not isinstance(value, Stateful):
                raise TypeError(
                    f"restore: {name} is a {type(value).__name__} without state_dict and "
                    f"load_state_dict. Read plain values from run.restored[{name!r}] instead"
                )
        self._objects = dict(objects)
        try:
            resumed = self._store.resume(self._resume_from)
            found = resumed.checkpoint
            where = (
                f"continuing from epoch {found.facts.epoch}" if found else "starting from epoch 1"
            )
            for reason in resumed.unusable:
                self._note(f"{reason}; {where}.")
            if found:
                self._load(found)
            elif self._init_from is not None:
                self._load_weights(self._init_from)
        except CheckpointError as error:
            self._fail(error)
        return self._restored_epoch

    def epochs(self, start: int, total: int | None = None) -> Iterator[int]:
        """Yield `start` + 1 to `total`; end early after an epoch if a stop was requested.

        `total` is by default `total_epochs`, or the parameter `epochs` of the configuration.
        """
        total = total if total is not None else self.total_epochs
        if total is None:
            raise ValueError("epochs: total is missing; pass it here or as total_epochs to init")
        self.total_epochs = total
        self._start()
        for epoch in range(start + 1, total + 1):
            if ranks.agree(self._may_stop(epoch - 1)):
                self._stop_early(epoch - 1)
                return
            yield epoch

    def checkpoint(self, epoch: int, **objects: object) -> None:
        """Copy the state after this epoch and write it durably, while training continues.

        Checkpoints that follow each other faster than they are written, or within 0.1 s, share a
        file: the newest is written, and the best. Only rank 0 writes.

        Objects with `state_dict` and plain values (numbers, strings, lists, dicts, tensors, arrays)
        are stored; others raise CheckpointError with their name. Nothing is pickled.
        """
        if not self._writes or self._closed:
            return
        epoch = int(epoch)
        self._start()
        self._check_writer()
        self._promote_best()
        states = {
            name: value.state_dict() if isinstance(value, Stateful) else value
            for name, value in objects.items()
        }
        best = self._new_best(epoch)
        facts = Facts(epoch, self._step, *(best or self._best or (None, None)))
        try:
            snapshot = Snapshot.take(states, facts)
        except CheckpointError as error:
            self._fail(error)
        self._best = best or self._best
        self._checkpoint_epoch = epoch
        if self._writer is None:
            self._writer = CheckpointWriter(
                self._store, self._reporter.checkpointed, prune=self.mode != "managed"
            )
        self._writer.submit(snapshot, is_best=best is not None)

    def seed_epoch(self, epoch: int, *loaders: object) -> int:
        """Seed Python, numpy and torch from the run's seed and the epoch; return the number.

        A script that draws all its randomness after this call resumes with bit-identical results.
        The run's seed is `seed` of `init` or of the configuration, else 0. Persistent workers of
        these data loaders start again, because they keep generators of their own, and a loader
        that creates its workers draws other numbers than one that has them.
        """
        for loader in loaders:
            end_workers(loader)
        return seed_generators(self._seed, epoch)

    def log_artifact(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Keep a copy of a file, or of the files in a folder, under the given name."""
        try:
            source = Path(path)
            target = name or source.name
            if self._closed or not self._writes:
                return
            if source.is_dir():
                for file in sorted(source.rglob("*")):
                    if file.is_file():
                        relative = file.relative_to(source).as_posix()
                        self._reporter.artifact(file, _artifact_name(f"{target}/{relative}"))
            else:
                self._reporter.artifact(source, _artifact_name(target))
        except Exception as error:
            notify(f"log_artifact: {path}: {error}")

    def finish(self, status: Status = "completed", error_message: str = "") -> None:
        """Report the end of the training; later calls do nothing."""
        if self._closed:
            return
        try:
            self._flush_output()
            if status == "completed" and self._paused_by_script():
                self._pause()
            else:
                self._start()
                self._promote_best()
                error = self._writer.flush() if self._writer is not None else None
                if error is not None:
                    notify(str(error))
                if error is not None and status == "completed" and self.mode == "managed":
                    status, error_message = "failed", str(error)
                if status == "completed" and self.should_stop and self.mode != "managed":
                    status = "cancelled"
                result = self._store.result(self._best and self._best[0]) if self._writes else None
                self._reporter.finish(status, error_message, result)
                if self._folder_lock is not None:
                    self._folder_lock.end(status)
        except Exception as error:
            notify(f"finish: {type(error).__name__}: {error}")
        finally:
            self._close()

    # How it ends

    def end_with(self, error: BaseException | None) -> None:
        """Finish according to the error; in managed mode, most errors start another attempt."""
        if isinstance(error, SystemExit) and error.code in (None, 0):
            error = None
        if error is None:
            self.finish()
        elif isinstance(error, KeyboardInterrupt) and self.mode != "managed":
            self.finish("cancelled", "Interrupted from the keyboard.")
        elif isinstance(error, CheckpointError) or self.mode != "managed":
            self.finish("failed", _describe(error))
        elif not self._closed:
            # Without a final message, the supervisor starts another attempt.
            if self._writer is not None:
                self._writer.flush()
            self._reporter.abandon()
            self._close()

    def _fail(self, error: CheckpointError) -> NoReturn:
        """Report an error that another attempt would repeat, and raise it."""
        if self.mode == "managed":
            self.finish("failed", str(error))
        raise error

    def _close(self) -> None:
        self._closed = True
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        stop_requested = self._reporter.stop_requested
        self._reporter = Reporter()
        self._reporter.stop_requested = stop_requested
        _active.discard(self)

    def disable(self) -> None:
        """Disable the run, as in a forked process such as a DataLoader worker."""
        self._writes = False
        self._writer = None  # its lock may have been held when this process was forked
        self._reporter.release_locks()
        if self._folder_lock is not None:
            self._folder_lock.release()
        self._close()

    # Stopping

    def _may_stop(self, epoch: int) -> bool:
        if not self._reporter.stop_requested or self._closed:
            return False
        is_kept = epoch in (self._checkpoint_epoch, self._restored_epoch, 0)
        return (
            self.mode != "managed"
            or is_kept
            or bool(self._objects)
            or self._checkpoint_epoch is None
        )

    def _stop_early(self, epoch: int) -> None:
        self._ended_early = True
        if self.mode != "managed":
            return
        is_kept = epoch in (self._checkpoint_epoch, self._restored_epoch, 0)
        if not is_kept and self._objects:
            self.checkpoint(epoch, **self._objects)
        self._pause()

    def _paused_by_script(self) -> bool:
        return (
            self.mode == "managed"
            and self._stop_was_read
            and self._reporter.stop_requested == PAUSE
        )

    def _pause(self) -> None:
        self._ended_early = True
        self._start()
        self._promote_best()
        self._check_writer(wait=True)
        self._flush_output()
        self._reporter.paused()
        self._close()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._reporter.started(self.total_epochs, self._restored_epoch or None)

    def _note(self, message: str) -> None:
        if self._writes:
            self._reporter.note(message)

    @staticmethod
    def _flush_output() -> None:
        # The supervisor ends the process group as soon as it has read the last message.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()

    # Checkpoints

    def _load(self, checkpoint: Checkpoint) -> None:
        stored = checkpoint.object_names
        for name, target in self._objects.items():
            if name not in stored:
                raise CheckpointError(
                    f"{checkpoint.path} contains no {name!r}, but {', '.join(stored) or 'nothing'}"
                )
            state = checkpoint.object(name)
            reading_from(checkpoint.path, name, lambda: target.load_state_dict(state))  # noqa: B023
        self.restored = {
            name: checkpoint.object(name) for name in stored if name not in self._objects
        }
        facts = checkpoint.facts
        self._step = facts.step
        self._restored_epoch = facts.epoch
        if facts.best_epoch is not None and facts.best_value is not None and self._writes:
            if self._store.find_best(facts.best_epoch) is not None:
                self._best = (facts.best_epoch, facts.best_value)
            else:
                self._note(
                    f"The best checkpoint, of epoch {facts.best_epoch}, is damaged or missing; the "
                    "best of the next epochs replaces it."
                )
        if self.mode != "managed" and self._writes:
            notify(f"continuing from epoch {facts.epoch} ({checkpoint.path}).")

    def _load_weights(self, path: Path) -> None:
        """Load the weights of each model that the file contains, and nothing else."""
        file = read_tensors(path)
        models = {name: one for name, one in self._objects.items() if hasattr(one, "parameters")}
        if file.is_checkpoint:
            states = {name: file.object(name) for name in models if name in file.object_names}
        elif len(models) == 1:
            states = dict.fromkeys(models, file.torch_tensors())
        else:
            states = {}
        if not states:
            found = ", ".join(file.object_names) or "plain tensors"
            raise CheckpointError(
                f"{path} contains {found}; none belongs to a model of this training "
                f"({', '.join(models) or 'restore was given none'})"
            )
        for name, state in states.items():
            reading_from(path, name, lambda: models[name].load_state_dict(state))  # noqa: B023
        self._note(f"Weights of {', '.join(states)} were taken from {path}.")

    def _new_best(self, epoch: int) -> tuple[int, float] | None:
        """The epoch with its objective, if that is better than all before."""
        if self._objective_value is None or self.objective is None:
            return None
        logged, value = self._objective_value
        if logged != epoch or math.isnan(value):
            return None
        if self._best is not None:
            best = self._best[1]
            if not (value < best if self.objective.direction == "minimize" else value > best):
                return None
        return epoch, value

    def _promote_best(self) -> None:
        """Keep the latest checkpoint as the best if its objective was logged only afterwards."""
        if self._writes and self._checkpoint_epoch is not None:
            best = self._new_best(self._checkpoint_epoch)
            if best is not None and self._writer is not None:
                self._writer.mark_best(best[0])
                self._best = best

    def _check_writer(self, *, wait: bool = False) -> None:
        """Raise an error of the writer; with `wait`, wait first until all is written."""
        if self._writer is None or self._closed:
            return
        error = self._writer.flush() if wait else self._writer.take_error()
        if error is None:
            return
        if self.mode == "managed":
            self._fail(error)
        # A checkpoint that cannot be written, as on a full disk, must not stop the training.
        notify(f"{error}; training continues.")


def _disabled_run(
    run_id: str, name: str, config: JsonDict, total_epochs: int | None, seed: int
) -> Run:
    run = Run(
        mode="disabled",
        run_id=run_id,
        name=name,
        config=config,
        reporter=Reporter(),
        store=CheckpointStore(Path()),
        total_epochs=total_epochs,
        seed=seed,
    )
    run.disable()
    return run


def _add_numbers(numbers: dict[str, float], name: object, value: object) -> None:
    if isinstance(value, Mapping):
        for inner, item in value.items():
            _add_numbers(numbers, f"{name}/{inner}", item)
        return
    if getattr(value, "requires_grad", False):
        value = value.detach()  # type: ignore[attr-defined]  # torch warns of a conversion
    try:
        numbers[str(name)] = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        notify_once(
            f"value {name}",
            f"log: {name} is a {type(value).__name__}, not a number; it is left out.",
        )


def _artifact_name(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if not name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"the name {name!r} must be a relative path without '..'")
    if name.endswith(".part"):
        raise ValueError(f"the name {name!r} ends in .part, as that of an incomplete file does")
    return name


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _describe(error: BaseException) -> str:
    if isinstance(error, CheckpointError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"The script exited with status {error.code}."
    return f"{type(error).__name__}: {error}"


# Unfinished runs; the exit hook finishes them.
_active: set[Run] = set()


def active_run() -> Run | None:
    return next(iter(_active), None)


def _register(run: Run) -> None:
    _install_hooks()
    _active.add(run)


@cache
def _install_hooks() -> None:
    atexit.register(_end_at_exit)
    os.register_at_fork(after_in_child=_disable_all)
    _wrap_excepthook()
    _wrap_exit()


def _end_all(error: BaseException | None) -> None:
    for run in list(_active):
        run.end_with(error)


def _end_at_exit() -> None:
    _end_all(SystemExit(_exit_statuses[-1]) if _exit_statuses else None)


def _disable_all() -> None:
    for run in list(_active):
        run.disable()


def _wrap_excepthook() -> None:
    previous = sys.excepthook

    def excepthook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        previous(kind, error, trace)
        _end_all(error)

    sys.excepthook = excepthook


def _wrap_exit() -> None:
    """A script that ends by `sys.exit(1)` without a `with` block has failed."""
    previous = sys.exit

    def exit_with(status: Any = None, /) -> NoReturn:
        if status not in (None, 0):
            _exit_statuses.append(status)
        previous(status)

    sys.exit = exit_with


_exit_statuses: list[Any] = []
