"""The training process: `python -m training.localization train|generate SPEC.json`, or `serve`.

It sends messages to its supervisor (`training.programs.messages`), reads commands from stdin, and
exits when stdin closes, because its supervisor is then gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from training.programs import messages
from training.programs.messages import FinalError, GenerateSpec, Message, TrainSpec

if TYPE_CHECKING:
    from training.localization.checkpoints.store import Store
    from training.localization.data.dataset import Dataset
    from training.localization.fit.distributed import DistributedContext
    from training.localization.fit.fine_tuning import Origin
    from training.localization.fit.loop import EpochResult, Step
    from training.localization.fit.state import TrainState

# One batch message a second is enough to show that the training moves.
BATCH_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_SUPERVISOR_GONE = 3  # exit status


class PauseRequested(Exception):
    """The supervisor wants this process to stop and continue later."""


class Channel:
    """Messages to the supervisor and commands from it.

    Of several processes that train together, only rank 0 sends and receives.
    """

    def __init__(self) -> None:
        self.command = ""
        self._next_batch = 0.0
        self._is_rank_zero = os.environ.get("RANK", "0") == "0"
        self.fd = messages.open_messages_fd()
        # Without a supervisor, messages go to stdout: keep everything else out of it.
        sys.stdout = sys.stderr
        if self._is_rank_zero:
            threading.Thread(target=self._read_commands, name="commands", daemon=True).start()

    def _read_commands(self) -> None:
        for line in sys.stdin:
            self.command = line.strip()
        os._exit(_SUPERVISOR_GONE)

    def send(self, message: Message) -> None:
        if self._is_rank_zero:
            line = memoryview(messages.encode(message))
            while line:
                line = line[os.write(self.fd, line) :]

    def send_batch_progress(self, step: Step) -> None:
        if self._is_rank_zero and time.monotonic() >= self._next_batch:
            self._next_batch = time.monotonic() + BATCH_SECONDS
            self.send(
                messages.BatchProgress(
                    epoch=step.epoch,
                    batch=step.batch,
                    total_batches=step.total_batches,
                    loss=float(step.loss),
                )
            )

    @property
    def pause_requested(self) -> bool:
        return self.command == messages.PAUSE

    def raise_if_paused(self) -> None:
        if self.pause_requested:
            raise PauseRequested


def train(spec: TrainSpec, channel: Channel) -> None:
    """Train to the end or a pause; a checkpoint is written before the message that names it."""
    import torch

    from training.localization.fit.distributed import DistributedContext

    torch.use_deterministic_algorithms(True)
    # Otherwise every new tensor is filled with NaN first. No code here reads uninitialized memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if spec.threads:
        # Waiting threads spin: two jobs that both use all cores take a multiple of the time. The
        # number stored in a checkpoint takes precedence, since the last bits depend on it.
        torch.set_num_threads(spec.threads)
    with DistributedContext.from_environment() as context:
        _train(spec, channel, context)


def _train(spec: TrainSpec, channel: Channel, context: DistributedContext) -> None:
    from training.localization.checkpoints import store as checkpoint
    from training.localization.checkpoints.async_writer import AsyncCheckpointWriter
    from training.localization.data.dataset import Dataset
    from training.localization.evaluation.evaluate import evaluate_localizer
    from training.localization.fit import calibration, loop
    from training.localization.inference import saved_model

    assert spec.dataset is not None  # the manifest declares datasets
    dataset = Dataset.load(Path(spec.dataset))
    store = checkpoint.Store(Path(spec.run_dir), tuple(map(Path, spec.earlier_runs)))
    resumed = None
    if spec.resume_from:
        # Only rank 0 copies the best checkpoint; the other ranks read it where it is.
        resumed = _resume(spec.resume_from, store, channel, copies_best=context.is_rank_zero)
    state = resumed or _initial_state(spec, dataset)
    if state.dataset_hash != dataset.content_hash:
        raise checkpoint.CheckpointError(
            "The dataset is not the one that the checkpoint was trained on"
        )
    channel.send(
        messages.Started(
            dataset_size=len(dataset),
            train_samples=len(dataset.rows("train")),
            val_samples=len(dataset.rows("val")),
            resumed_from_epoch=state.epoch or None,
        )
    )
    with AsyncCheckpointWriter(store.folder, channel.fd) as writer:
        for progress in loop.fit(state, dataset, context):
            if isinstance(progress, loop.Step):
                if writer.is_idle():  # all earlier epochs have been reported
                    channel.send_batch_progress(progress)
                continue
            if context.is_rank_zero:
                writer.keep(state, progress.is_best, epoch_message(progress))
            if context.broadcast(channel.pause_requested) and not state.is_finished:
                writer.finish()
                channel.send(messages.Paused())
                return
    if context.is_rank_zero:
        best = checkpoint.load_checkpoint(store.best)
        localizer = calibration.calibrate(best, dataset, context, channel.raise_if_paused)
        evaluation = evaluate_localizer(localizer, dataset)
        saved_model.save_model(store.folder, localizer, best, dataset, evaluation)
        channel.send(
            messages.TrainingCompleted(checkpoint_path=str(store.best), evaluation={**evaluation})
        )


def _resume(
    resume_from: str, store: Store, channel: Channel, *, copies_best: bool
) -> TrainState | None:
    """None if no checkpoint exists; a note says why each newer one is not used."""
    newest = Path(resume_from)
    resumed = (store if copies_best else replace(store, folder=newest.parent)).resume(newest)
    state = resumed.state
    where = f"resuming from epoch {state.epoch}" if state else "starting from the beginning"
    for reason in resumed.unusable:
        channel.send(messages.Note(message=f"{reason}; {where}."))
    return state


def _initial_state(spec: TrainSpec, dataset: Dataset) -> TrainState:
    from training.localization.config import TrainConfig
    from training.localization.fit import fine_tuning
    from training.localization.fit.state import TrainState

    config = TrainConfig.model_validate(spec.parameters)
    if spec.init_from:
        return fine_tuning.initial_state(_origin(spec.init_from), config, dataset)
    return TrainState.initial(config, dataset)


def _origin(checkpoint: str) -> Origin:
    """The model beside the best checkpoint of a completed job."""
    from training.localization.fit.fine_tuning import Origin
    from training.localization.inference.saved_model import ModelError, load_model
    from training.programs.checkpoint_files import MODEL

    try:
        saved = load_model(Path(checkpoint).with_name(MODEL))
    except ModelError as error:
        raise FinalError(f"The training cannot start from a model: {error}") from error
    localizer = saved.localizer
    receivers = tuple(receiver.id for receiver in saved.receivers)
    return Origin(localizer.ensemble, localizer.normalizer, receivers, saved.frame)


def epoch_message(result: EpochResult) -> messages.EpochEnded:
    return messages.EpochEnded(
        epoch=result.epoch,
        metrics=result.metrics,
        seconds=result.seconds,
        is_best=result.is_best,
    )


def generate(spec: GenerateSpec, channel: Channel) -> None:
    from training.localization.config import GenerateConfig
    from training.localization.evaluation import dataset_summary
    from training.localization.synthetic import resumable

    config, output = GenerateConfig.model_validate(spec.parameters), Path(spec.output)
    channel.send(messages.Started(dataset_size=config.samples, train_samples=0, val_samples=0))

    def report(current: int, total: int, message: str) -> None:
        channel.send(messages.GenerationProgress(current=current, total=total, message=message))
        if current < total:
            channel.raise_if_paused()

    dataset = resumable.generate_resumable(config, output, report)
    if not dataset.heard.any():
        output.unlink()
        raise FinalError(
            "No receiver detects any of the transmissions; raise the transmit power, or lower the "
            "noise floor or the detection SNR"
        )
    channel.send(
        messages.GenerationCompleted(
            path=str(output),
            content_hash=dataset.content_hash,
            facts={**dataset_summary.summarize(dataset)},
        )
    )


def main(spec_file: str) -> None:
    """Run the spec; report errors that another attempt would repeat, raise all others."""
    _die_with_parent()
    spec = messages.decode_spec(Path(spec_file).read_bytes())
    channel = Channel()
    try:
        if isinstance(spec, TrainSpec):
            train(spec, channel)
        else:
            generate(spec, channel)
    except PauseRequested:
        channel.send(messages.Paused())
    except (FinalError, OSError) as error:
        channel.send(messages.Failed(error_message=f"{str(error).rstrip('.')}."))


def _die_with_parent() -> None:
    """Let the kernel kill this process with its parent, even while stdin is not read (Linux)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_SUPERVISOR_GONE)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        from training.localization.inference.server import serve

        responses_fd = messages.open_messages_fd()
        sys.stdout = sys.stderr
        serve(sys.stdin.fileno(), responses_fd)
        sys.exit()
    if len(sys.argv) != 3 or sys.argv[1] not in ("train", "generate"):
        sys.exit("usage: python -m training.localization train|generate SPEC.json, or serve")
    main(sys.argv[2])
