"""`init`: finds out how the script was started and connects the run accordingly."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import re
import sys
import uuid
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import IO

from heimdall_sdk import managed, ranks, reported
from heimdall_sdk.api_client import ApiClient
from heimdall_sdk.checkpoints import CheckpointStore
from heimdall_sdk.config import JsonDict, ObjectiveArgument, to_dict, to_json, to_objective
from heimdall_sdk.errors import notify, notify_once
from heimdall_sdk.messages import FD_VARIABLE, SPEC_VARIABLE, Objective
from heimdall_sdk.reporter import Reporter, Status
from heimdall_sdk.run import Mode, Run, active_run
from heimdall_sdk.sync import TOKEN_VARIABLE, URL_VARIABLE
from heimdall_sdk.text import clean_name, clean_values

CHECKPOINTS = "heimdall-checkpoints"
# Heimdall would reject a run with a longer name or more tags.
MAX_NAME, MAX_TAG, MAX_TAGS = 200, 50, 20
# The reporting process: its children must not start separate runs.
PROCESS_VARIABLE = "HEIMDALL_RUN_PID"
_COMPLETED, _LOCK = "completed", "lock"


def init(
    project: str | None = None,
    name: str | None = None,
    config: object = None,
    tags: Iterable[str] = (),
    total_epochs: int | None = None,
    objective: ObjectiveArgument | None = None,
    *,
    seed: int | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    capture_output: bool = True,
) -> Run:
    """Start a run.

    In a job that Heimdall started, the job's parameters win over `config`, and its name, project
    and objective over those given here. Otherwise the run reports to `HEIMDALL_URL` with
    `HEIMDALL_TOKEN`; without them it only writes the spool, which `heimdall sync` sends.

    `config` is a dict, a dataclass or an argparse namespace. `objective` is a metric, or a metric
    with "minimize" or "maximize"; the checkpoint of its best epoch is kept. Run by hand,
    checkpoints are written to `heimdall-checkpoints/NAME`, and an unfinished run of the same name
    is continued.
    `capture_output` sends a copy of what the script prints.
    """
    values = to_dict(config)
    goal = to_objective(objective)
    if SPEC_VARIABLE in os.environ:
        existing = active_run()
        if existing is not None:
            return existing
        return _managed_run(values, total_epochs, goal, seed)
    return _reported_run(
        values,
        _Registration(project, name, tuple(tags), total_epochs, goal),
        seed=seed,
        checkpoint_dir=checkpoint_dir,
        capture_output=capture_output,
    )


class _Registration:
    def __init__(
        self,
        project: str | None,
        name: str | None,
        tags: tuple[str, ...],
        total_epochs: int | None,
        objective: Objective | None,
    ) -> None:
        self.project, self.name, self.tags = project, name, tags
        self.total_epochs, self.objective = total_epochs, objective

    def as_json(self, config: JsonDict, total_epochs: int | None) -> JsonDict:
        return {
            "name": self.name and clean_name(self.name)[:MAX_NAME].strip(),
            "project": self.project and clean_name(self.project),
            "config": clean_values(to_json(config)),
            "tags": list(filter(None, (clean_name(str(tag))[:MAX_TAG] for tag in self.tags)))[
                :MAX_TAGS
            ],
            "total_epochs": total_epochs,
            "objective": self.objective
            and {"metric": self.objective.metric, "direction": self.objective.direction},
        }


# Started by Heimdall


def _managed_run(
    config: JsonDict, total_epochs: int | None, objective: Objective | None, seed: int | None
) -> Run:
    spec = managed.read_spec(Path(os.environ[SPEC_VARIABLE]))
    config = {**config, **spec.parameters}
    run_dir = Path(spec.run_dir)
    reporter, mode = _managed_reporter(run_dir)
    if mode == "managed":
        _limit_threads(spec.threads)
    return Run(
        mode=mode,
        run_id=spec.job_id,
        name=spec.program,
        config=config,
        reporter=reporter,
        store=CheckpointStore(run_dir, tuple(map(Path, spec.earlier_runs))),
        # The parameter of the job, as the pages show it, wins over the script's argument.
        total_epochs=_epochs(spec.parameters) or total_epochs or _epochs(config),
        objective=spec.objective or objective,
        seed=seed,
        resume_from=_path(spec.resume_from),
        init_from=_path(spec.init_from),
    )


def _managed_reporter(run_dir: Path) -> tuple[Reporter, Mode]:
    # Children of this process must not use the descriptor.
    value = os.environ.pop(FD_VARIABLE, None)
    if value is None:
        return Reporter(), "disabled"
    if not ranks.is_rank_zero():
        managed.take_stdin()
        managed.die_with_parent()
        return Reporter(), "managed"
    try:
        fd = managed.open_messages_fd(value)
    except (OSError, ValueError) as error:
        raise RuntimeError(
            f"{FD_VARIABLE}={value} cannot be opened ({error}): the supervisor that set it is not "
            "the parent of this process"
        ) from error
    commands = managed.take_stdin()
    managed.die_with_parent()
    return managed.ManagedReporter(fd, commands, run_dir), "managed"


def _limit_threads(threads: int) -> None:
    """Threads of two jobs that both use every core wait for each other."""
    if threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)


# Started by hand


def _reported_run(
    config: JsonDict,
    registration: _Registration,
    *,
    seed: int | None,
    checkpoint_dir: str | os.PathLike[str] | None,
    capture_output: bool,
) -> Run:
    total_epochs = registration.total_epochs or _epochs(config)
    reporter: Reporter
    mode: Mode = "disabled"
    run_id = uuid.uuid4().hex
    if _is_child_of_run():
        reporter = Reporter()
    elif not ranks.is_rank_zero():
        reporter, mode = Reporter(), "reported"
    else:
        reporter, mode, run_id = _spool_reporter(
            registration.as_json(config, total_epochs), run_id, capture_output
        )
        os.environ[PROCESS_VARIABLE] = str(os.getpid())
    base = Path(checkpoint_dir) if checkpoint_dir is not None else Path(CHECKPOINTS)
    # A worker process of a run neither looks for checkpoints nor writes any.
    name = None if mode == "disabled" else registration.name
    folder, lock = _checkpoint_folder(base, name, run_id)
    return Run(
        mode=mode,
        run_id=run_id,
        name=registration.name or run_id,
        config=config,
        reporter=reporter,
        store=CheckpointStore(folder),
        total_epochs=total_epochs,
        objective=registration.objective,
        seed=seed,
        folder_lock=lock,
    )


def _spool_reporter(
    registration: JsonDict, run_id: str, capture_output: bool
) -> tuple[Reporter, Mode, str]:
    client = _client()
    try:
        spool = reported.new_spool(registration)
    except OSError as error:
        notify(f"the spool cannot be created ({error}); nothing is reported.")
        return Reporter(), "disabled", run_id
    reporter = reported.SpoolReporter(spool, client, capture_output)
    return reporter, "offline" if client is None else "reported", spool.client_id


def _client() -> ApiClient | None:
    url, token = os.environ.get(URL_VARIABLE, ""), os.environ.get(TOKEN_VARIABLE, "")
    if not url or not token:
        missing = " and ".join(
            name for name, value in ((URL_VARIABLE, url), (TOKEN_VARIABLE, token)) if not value
        )
        notify_once("offline", f"{missing} not set: this run is only written to disk.")
        return None
    try:
        return ApiClient(url, token)
    except ValueError as error:
        notify(f"{error}. This run is only written to disk.")
        return None


def _is_child_of_run() -> bool:
    """Whether this is a worker process, such as one of a DataLoader, that imports the script."""
    parent = multiprocessing.parent_process()
    return parent is not None and os.environ.get(PROCESS_VARIABLE) == str(parent.pid)


def _checkpoint_folder(base: Path, name: str | None, run_id: str) -> tuple[Path, FolderLock]:
    """The folder of the unfinished run of this name, else a new one: NAME, NAME-2, …"""
    if name is None:
        return base / run_id, FolderLock(base / run_id)
    name = re.sub(r"[^\w.+=@-]+", "-", name).strip(".-") or "run"
    for number in count(1):
        folder = base / (name if number == 1 else f"{name}-{number}")
        lock = FolderLock(folder)
        if not lock.is_completed and (not ranks.is_rank_zero() or lock.acquire()):
            return folder, lock
    raise AssertionError


class FolderLock:
    """Prevents two runs of the same name from sharing a checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None

    @property
    def is_completed(self) -> bool:
        return (self._folder / _COMPLETED).exists()

    def acquire(self) -> bool:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = (self._folder / _LOCK).open("wb")
        except OSError:
            return True  # writing a checkpoint reports what is wrong with the folder
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            return False
        CheckpointStore(self._folder).remove_incomplete()
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def end(self, status: Status) -> None:
        """A completed run is not continued; one without checkpoints leaves no folder behind."""
        with contextlib.suppress(OSError):
            if status == "completed" and any(self._folder.glob("*.safetensors")):
                (self._folder / _COMPLETED).touch()
            elif self._file is not None and [path.name for path in self._folder.iterdir()] == [
                _LOCK
            ]:
                (self._folder / _LOCK).unlink()
                self._folder.rmdir()
        self.release()


def _epochs(values: JsonDict) -> int | None:
    epochs = values.get("epochs")
    is_count = isinstance(epochs, int) and not isinstance(epochs, bool) and epochs > 0
    return epochs if is_count else None


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
