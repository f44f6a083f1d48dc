"""The training as a process: start it, read its messages, send it commands, end it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

from training.jobs.logs import AttemptLog
from training.programs import command, messages
from training.programs.manifest import Program
from training.programs.messages import Message, RunSpec, TrainSpec
from training.programs.registry import get_program
from training.subprocess_env import without_secrets
from training.workers import end_with_parent

# How long a process may take to exit after it closed its messages.
EXIT_SECONDS = 2.0
_TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
LAST_LINE_BYTES = 4096
# The line of Python that names an exception, such as "torch.OutOfMemoryError: …".
_ERROR = re.compile(r"([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt)(:|$)")
MAX_HINT_LINES = 10
# Messages that wait while the supervisor waits for the database: those of about 1,000 epochs.
PIPE_BYTES = 1 << 20


class TrainerProcess:
    """The command of a program in its own process group.

    It ends with its supervisor: its stdin closes, and on Linux the kernel kills it as well.
    """

    def __init__(
        self, spec: RunSpec, folder: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        """`variables` are added to the environment."""
        program = get_program(spec.program)
        folder.mkdir(parents=True, exist_ok=True)
        spec_file = folder / "spec.json"
        spec_file.write_bytes(messages.encode(spec))
        self.log = AttemptLog(folder / "trainer.log")
        self._messages, writing = _pipe()
        try:
            with self.log.path.open("ab") as log:
                self._process = subprocess.Popen(
                    _command(program, spec, spec_file),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=program.folder or settings.BASE_DIR,
                    env={**_environment(program, spec, spec_file, writing), **(variables or {})},
                    pass_fds=(writing,),
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._messages)
            raise
        finally:
            os.close(writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill the process group; messages that were not read are dropped."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._close()

    def messages(self, tick: float, interval: float) -> Iterator[list[Message]]:
        """Yield new messages, `[]` after `tick` seconds without any, until the process closes.

        Messages that follow others within `interval` seconds wait for its end and come together.
        """
        for lines in messages.read_lines(self._messages, tick, interval):
            yield [messages.decode(line) for line in lines]

    def send(self, command: str) -> None:
        assert self._process.stdin is not None
        # If the process is gone, `messages` ends.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_status(self) -> int | None:
        """The status after its messages ended; None if it does not exit."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)
        return self._process.poll()

    def exit_summary(self, out_of_memory: str = "") -> str:
        status = self.exit_status()
        if status is None:
            return "The trainer closed its messages but did not exit."
        if status < 0:
            # The last line of its log is older than the signal and explains nothing.
            name = signal.Signals(-status).name
            reason = out_of_memory or ("possibly out of memory" if name == "SIGKILL" else "")
            return f"The trainer was killed (signal {', '.join(filter(None, [name, reason]))})."
        end = self.log.tail(LAST_LINE_BYTES).data.decode(errors="replace")
        details = ": ".join(filter(None, [f"exit status {status}", out_of_memory, last_error(end)]))
        return f"The trainer ended without a result ({details})."

    def _close(self) -> None:
        assert self._process.stdin is not None
        os.close(self._messages)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _signal(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, which)


def last_error(output: str) -> str:
    """The last line of an output, or of the traceback before it: some tools add hints to that."""
    lines = output.strip().splitlines()
    errors = [line for line in lines[-MAX_HINT_LINES:] if _ERROR.match(line)]
    return (errors or lines or [""])[-1].strip()


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    # Elsewhere than on Linux, or beyond the limit of a user, the default size has to do.
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends


def _command(program: Program, spec: RunSpec, spec_file: Path) -> list[str]:
    """The program's command, under torchrun if several processes share each batch.

    Rank 0 sends the messages then. A built-in program gets its kind and spec as arguments too, so
    that the list of processes shows them.
    """
    words = list(program.command)
    if program.folder:
        # A parameter may have been added to the manifest after the job was queued.
        defaults = {
            name: field.default for name, field in program.parameters.model_fields.items()
            if not field.is_required()
        }  # fmt: skip
        shared = spec_file.parent.parent / "shared"
        if any(command.JOB_DIRECTORY in command.placeholders(word) for word in words):
            shared.mkdir(exist_ok=True)
        directories = {
            command.RUN_DIRECTORY: str(spec_file.parent),
            command.JOB_DIRECTORY: str(shared),
        }
        words = command.fill(words, {**defaults, **spec.parameters, **directories})
    if words[0] == "python":
        launcher = []
        if isinstance(spec, TrainSpec) and spec.processes > 1:
            launcher = [*_TORCHRUN, f"--nproc-per-node={spec.processes}"]
        words = [program.python or sys.executable, *launcher, *words[1:]]
    if program.folder is None:
        return [*words, spec.type, str(spec_file)]
    _require_executable(words[0], program.folder)
    return [sys.executable, "-I", "-S", end_with_parent.__file__, str(os.getpid()), *words]


def _require_executable(name: str, folder: Path) -> None:
    path = folder / name if os.sep in name else name
    if shutil.which(path) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _environment(
    program: Program, spec: RunSpec, spec_file: Path, messages_fd: int
) -> dict[str, str]:
    found = without_secrets(
        PYTHONUNBUFFERED="1",  # a printed line is in the log at once
        **{messages.FD_VARIABLE: str(messages_fd), messages.SPEC_VARIABLE: str(spec_file)},
    )
    if isinstance(spec, TrainSpec) and spec.needs == "cpu":
        found["CUDA_VISIBLE_DEVICES"] = ""
    if program.folder:
        # The script finds the SDK without installing it, and its prints are seen as they happen.
        found["PYTHONPATH"] = os.pathsep.join(
            [str(settings.BASE_DIR / "sdk"), *filter(None, [found.get("PYTHONPATH")])]
        )
        found["PYTHONUNBUFFERED"] = "1"
        if isinstance(spec, TrainSpec) and spec.threads:
            found.setdefault("OMP_NUM_THREADS", str(spec.threads))
    return found
