"""A fake supervisor of a script: starts it, reads its messages, pauses and kills it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.programs import messages
from training.programs.messages import (
    Checkpointed,
    Failed,
    Message,
    Paused,
    Point,
    Points,
    TrainingCompleted,
    TrainSpec,
)

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = Path(__file__).parent / "scripts"
FINAL = (TrainingCompleted, Paused, Failed)


def script_environment(**more: str) -> dict[str, str]:
    names = ("HEIMDALL_URL", "HEIMDALL_TOKEN", messages.SPEC_VARIABLE, messages.FD_VARIABLE)
    return {
        **{name: value for name, value in os.environ.items() if name not in names},
        "PYTHONPATH": str(ROOT / "sdk"),
        **more,
    }


class Attempt:
    """One run of a script under a supervisor."""

    def __init__(
        self, spec: TrainSpec, script: Path, *arguments: str, launcher: tuple[str, ...] = ()
    ) -> None:
        folder = Path(spec.run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_text(json.dumps(asdict(spec)))
        self.log = folder / "trainer.log"
        self._messages, writing = os.pipe()
        self.received: list[Message] = []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *launcher, str(script), *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=script_environment(
                    **{
                        messages.SPEC_VARIABLE: str(folder / "spec.json"),
                        messages.FD_VARIABLE: str(writing),
                    }
                ),
                cwd=folder,
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        os.close(self._messages)
        assert self.process.stdin is not None
        self.process.stdin.close()

    def read(self, until: Callable[[Message], bool] = lambda message: isinstance(message, FINAL),
             seconds: float = 60.0) -> Message | None:  # fmt: skip
        """Read messages until one meets the condition; None if the script ends or time is up."""
        deadline = time.monotonic() + seconds
        for lines in messages.read_lines(self._messages, 0.05):
            found = None
            for line in lines:
                self.received.append(messages.decode(line))
                if found is None and until(self.received[-1]):
                    found = self.received[-1]
            if found is not None or time.monotonic() > deadline:
                return found
        return None

    def pause(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"pause\n")
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()

    def exit_status(self) -> int:
        return self.process.wait(30)

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def points(self) -> list[Point]:
        return [
            point
            for message in self.received
            if isinstance(message, Points)
            for point in message.points
        ]

    @property
    def epochs(self) -> dict[int, dict[str, Any]]:
        return {point.epoch: point.values for point in self.points if point.epoch is not None}

    @property
    def newest_checkpoint(self) -> str | None:
        found = [message.path for message in self.received if isinstance(message, Checkpointed)]
        return found[-1] if found else None


class Supervised:
    """The attempts of one job, each in a folder of its own."""

    def __init__(
        self, folder: Path, script: str, *arguments: str, launcher: tuple[str, ...] = (),
        **spec: Any,
    ) -> None:  # fmt: skip
        self.folder = folder
        self._script = SCRIPTS / script if not script.startswith("/") else Path(script)
        self._arguments = arguments
        self._launcher = launcher
        self._spec = spec
        self._number = 0
        self.checkpoint: str | None = None

    def start(self) -> Attempt:
        earlier = [str(self.folder / str(number + 1)) for number in range(self._number)]
        self._number += 1
        spec = TrainSpec(
            **{
                "program": "test",
                "parameters": {},
                "run_dir": str(self.folder / str(self._number)),
                "resume_from": self.checkpoint,
                "earlier_runs": earlier,
                "job_id": "1",
                **self._spec,
            }
        )
        return Attempt(spec, self._script, *self._arguments, launcher=self._launcher)

    def keep(self, attempt: Attempt) -> None:
        """Record the newest checkpoint in the job's row."""
        self.checkpoint = attempt.newest_checkpoint or self.checkpoint
