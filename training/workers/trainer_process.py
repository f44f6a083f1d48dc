"""The trainer as a process: started, listened to line by line, told to stop, ended for certain."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from django.conf import settings

from training.subprocess_env import scrubbed

# From its last word to its end.
EXIT_SECONDS = 2.0


class TrainerProcess:
    """`python -m training.localization` in a process group of its own.

    It ends with whoever started it: its stdin closes, and on Linux the kernel kills it too.
    """

    def __init__(self, command: str, spec: dict[str, Any], folder: Path) -> None:
        """Start `command` (`train` or `generate`); `folder` takes its spec and its log."""
        folder.mkdir(parents=True, exist_ok=True)
        spec_file = folder / "spec.json"
        spec_file.write_text(json.dumps(spec, indent=1), encoding="utf-8")
        self.log = folder / "trainer.log"
        with self.log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *_launcher(spec),
                    "-m",
                    "training.localization",
                    command,
                    str(spec_file),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=settings.BASE_DIR,
                env=_environment(spec),
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it for certain, and at once: what it has said is kept, and the rest is not wanted."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._close()

    def lines(self, tick: float) -> Iterator[list[dict[str, Any]]]:
        """The lines it has written since, none after `tick` seconds of silence, until it closes."""
        buffer = b""
        while True:
            if not self._selector.select(tick):
                yield []
                continue
            chunk = os.read(self._out, 1 << 16)
            if not chunk:
                return
            *whole, buffer = (buffer + chunk).split(b"\n")
            yield [json.loads(line) for line in whole]

    def ask(self, wish: str) -> None:
        """Pass on that it is to pause."""
        assert self._process.stdin is not None
        # One that is gone has been heard by `lines` already.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{wish}\n".encode())
            self._process.stdin.flush()

    def obituary(self) -> str:
        """One sentence about an end that was not announced, with the last words of its log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)
        status = self._process.poll()
        if status is None:
            return "The trainer fell silent, and did not end."
        how = f"exit status {status}"
        if status < 0:
            # Its log's last line is older than what killed it.
            name = signal.Signals(-status).name
            hint = ", as where memory runs out" if name == "SIGKILL" else ""
            return f"The trainer was killed (signal {name}{hint})."
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return f"The trainer ended without a result ({': '.join([how, *last])})."

    def _close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._selector.close()
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _signal(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, which)


def _environment(spec: dict[str, Any]) -> dict[str, str]:
    """A job that asked for a CPU sees no GPU."""
    on_cpu = spec.get("needs") == "cpu"
    return scrubbed(**({"CUDA_VISIBLE_DEVICES": ""} if on_cpu else {}))


def _launcher(spec: dict[str, Any]) -> list[str]:
    """torchrun, where several processes are to share each batch; the first of them talks."""
    processes = int(spec.get("processes", 1))
    if processes == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
