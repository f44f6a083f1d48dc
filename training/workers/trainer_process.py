"""The training as a process: start it, read its messages, send it commands, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

from training.programs import messages
from training.programs.messages import Message, RunSpec, TrainSpec
from training.programs.registry import get_program
from training.subprocess_env import scrubbed

# How long a process may take to exit after it closed its messages.
EXIT_SECONDS = 2.0


class TrainerProcess:
    """The command of a program in a process group of its own.

    It ends with its supervisor: its stdin closes, and on Linux the kernel kills it as well.
    """

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        """Start the training; its spec and its log (stdout and stderr) are written to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        spec_file = folder / "spec.json"
        spec_file.write_bytes(messages.encode(spec))
        self.log = folder / "trainer.log"
        self._messages, writing = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        *_launcher(spec),
                        *get_program(spec.program).command,
                        spec.type,
                        str(spec_file),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=settings.BASE_DIR,
                    env=_environment(spec, writing),
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

    def messages(self, tick: float) -> Iterator[list[Message]]:
        """Yield new messages, `[]` after `tick` seconds without any, until the process closes."""
        for lines in messages.read_lines(self._messages, tick):
            yield [messages.decode(line) for line in lines]

    def send(self, command: str) -> None:
        assert self._process.stdin is not None
        # If the process is gone, `messages` ends.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()

    def exit_summary(self) -> str:
        """Describe in one sentence how the process ended without a result."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)
        status = self._process.poll()
        if status is None:
            return "The trainer closed its messages but did not exit."
        if status < 0:
            # The last line of its log is older than the signal and explains nothing.
            name = signal.Signals(-status).name
            hint = ", possibly out of memory" if name == "SIGKILL" else ""
            return f"The trainer was killed (signal {name}{hint})."
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        details = ": ".join([f"exit status {status}", *last])
        return f"The trainer ended without a result ({details})."

    def _close(self) -> None:
        assert self._process.stdin is not None
        os.close(self._messages)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _signal(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, which)


def _environment(spec: RunSpec, messages_fd: int) -> dict[str, str]:
    """The variables of the training; a job that needs only a CPU sees no GPU."""
    on_cpu = isinstance(spec, TrainSpec) and spec.needs == "cpu"
    return scrubbed(
        **{messages.FD_VARIABLE: str(messages_fd)},
        **({"CUDA_VISIBLE_DEVICES": ""} if on_cpu else {}),
    )


def _launcher(spec: RunSpec) -> list[str]:
    """torchrun if several processes share each batch; rank 0 sends the messages."""
    if not isinstance(spec, TrainSpec) or spec.processes == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={spec.processes}"]
