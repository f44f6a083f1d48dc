"""The trainer's process: `python -m training.localization train|generate SPEC.json`.

It writes one JSON object a line to stdout, reads `pause` from stdin, and ends when
its stdin does: whoever started it is gone then.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from training.localization.fit.distributed import DistributedContext
    from training.localization.fit.loop import EpochResult, Step

# One batch line a second is enough for anyone to see that it moves.
BATCH_SECONDS = 1.0
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class PauseRequested(Exception):
    """Whoever started it wants it to go on later."""


class Channel:
    """Both directions of the talk with whoever started this process.

    Of several processes that train together the first one talks.
    """

    def __init__(self) -> None:
        self.asked = ""
        self._out = sys.stdout
        self._next_batch = 0.0
        self._talks = os.environ.get("RANK", "0") == "0"
        # Whatever else prints must not look like a line of ours.
        sys.stdout = sys.stderr
        if self._talks:
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self.asked = line.strip()
        os._exit(3)

    def say(self, kind: str, **fields: Any) -> None:
        if not self._talks:
            return
        # JSON has no NaN and no infinity: orjson writes null.
        self._out.write(orjson.dumps({"type": kind, **fields}, option=_OPTIONS).decode())
        self._out.flush()

    def say_batch_now_and_then(self, step: Step) -> None:
        if self._talks and time.monotonic() >= self._next_batch:
            self._next_batch = time.monotonic() + BATCH_SECONDS
            self.say(
                "batch",
                epoch=step.epoch,
                batch=step.batch,
                total_batches=step.total_batches,
                loss=float(step.loss),
            )

    def heed_pause(self) -> None:
        if self.asked == "pause":
            raise PauseRequested


def train(spec: dict[str, Any], pipe: Channel) -> None:
    """Train to the end or a pause; the checkpoint first, then the line that names it."""
    import torch

    from training.localization.fit.distributed import DistributedContext

    torch.use_deterministic_algorithms(True)
    # Else every new tensor is filled with NaN first; nothing here reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if spec.get("threads"):
        # Threads that wait for each other spin: two jobs that both want all cores take a multiple
        # of the time. A checkpoint's own number wins, for the last bits depend on it.
        torch.set_num_threads(spec["threads"])
    with DistributedContext.from_environment() as context:
        _train(spec, pipe, context)


def _train(spec: dict[str, Any], pipe: Channel, context: DistributedContext) -> None:
    from training.localization.checkpoints import store as checkpoint
    from training.localization.checkpoints.async_writer import AsyncCheckpointWriter
    from training.localization.config import TrainConfig
    from training.localization.data.dataset import Dataset
    from training.localization.evaluation.evaluate import evaluate_localizer
    from training.localization.fit import calibration, loop
    from training.localization.fit.state import TrainState
    from training.localization.inference import saved_model

    dataset = Dataset.load(Path(spec["dataset"]))
    store = checkpoint.Store(Path(spec["run_dir"]), tuple(map(Path, spec.get("earlier_runs", []))))
    if spec.get("resume_from"):
        newest = Path(spec["resume_from"])
        # One process alone brings the best along; the others read where it lies.
        resumed = (store if context.is_rank_zero else replace(store, folder=newest.parent)).resume(
            newest
        )
        state = resumed.state
        for damage in resumed.damaged:
            pipe.say("note", message=f"{damage}; going on from epoch {state.epoch}.")
    else:
        state = TrainState.initial(TrainConfig.model_validate(spec["config"]), dataset)
    if state.dataset_hash != dataset.content_hash:
        raise checkpoint.CheckpointError(
            "The dataset is not the one that the checkpoint was trained on"
        )
    pipe.say(
        "started",
        dataset_size=len(dataset),
        train_samples=len(dataset.rows("train")),
        val_samples=len(dataset.rows("val")),
        resumed_from_epoch=state.epoch or None,
    )
    with AsyncCheckpointWriter(store.folder) as recorder:
        for progress in loop.fit(state, dataset, context):
            if isinstance(progress, loop.Step):
                if recorder.is_idle():  # the epochs before are told first
                    pipe.say_batch_now_and_then(progress)
                continue
            if context.is_rank_zero:
                recorder.keep(state, progress.is_best, epoch_line(progress))
            if context.broadcast(pipe.asked == "pause") and not state.is_finished:
                recorder.finish()
                pipe.say("paused")
                return
    if context.is_rank_zero:
        best = checkpoint.load_checkpoint(store.best)
        answer = calibration.calibrate(best, dataset, context)
        evaluated = evaluate_localizer(answer, dataset)
        saved_model.save_model(store.folder, answer, best, dataset, evaluated)
        pipe.say("completed", checkpoint_path=str(store.best), evaluation=evaluated)


def epoch_line(ended: EpochResult) -> dict[str, Any]:
    return {"type": "epoch", **asdict(ended), "checkpoint_path": ""}


def generate(spec: dict[str, Any], pipe: Channel) -> None:
    """Make a synthetic dataset and write it; what a stopped run had made is not made again."""
    from training.localization.config import GenerateConfig
    from training.localization.evaluation import dataset_summary
    from training.localization.synthetic import resumable

    config, output = GenerateConfig.model_validate(spec["config"]), Path(spec["output"])
    pipe.say("started", dataset_size=config.samples)

    def told(current: int, total: int, message: str) -> None:
        pipe.say("generation", current=current, total=total, message=message)
        if current < total:
            pipe.heed_pause()

    dataset = resumable.generate_resumable(config, output, told)
    pipe.say(
        "completed",
        path=str(output),
        content_hash=dataset.content_hash,
        facts=dataset_summary.summarize(dataset),
    )


def main(command: str, spec_file: str) -> None:
    """What cannot be helped by trying again is said as `failed`; the rest ends in a traceback."""
    _die_with_parent()
    spec = json.loads(Path(spec_file).read_text(encoding="utf-8"))
    pipe = Channel()
    try:
        {"train": train, "generate": generate}[command](spec, pipe)
    except PauseRequested:
        pipe.say("paused")
    except Exception as error:
        if not _is_final(error):
            raise
        pipe.say("failed", error_message=f"{str(error).rstrip('.')}.")


def _is_final(error: Exception) -> bool:
    """Whether the next attempt would meet the same: bad data, no checkpoint, no disk."""
    names = {"DatasetFileError", "CheckpointError", "DivergedError"}
    return isinstance(error, OSError) or type(error).__name__ in names


def _die_with_parent() -> None:
    """On Linux the kernel sees to it even where this process could not read its pipe."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(3)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        from training.localization.inference.server import serve

        # Whatever else prints must not look like an answer.
        answers, sys.stdout = sys.stdout, sys.stderr
        serve(sys.stdin, answers)
        sys.exit()
    if len(sys.argv) != 3 or sys.argv[1] not in ("train", "generate"):
        sys.exit("usage: python -m training.localization train|generate SPEC.json, or serve")
    main(sys.argv[1], sys.argv[2])
