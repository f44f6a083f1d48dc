"""Runs of the Trainer of Hugging Face transformers.

callback = HeimdallCallback(project="sentiment", objective="eval_loss")
trainer = Trainer(model, arguments, train_dataset=data, callbacks=[callback])
trainer.train(resume_from_checkpoint=callback.checkpoint(trainer))
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

import heimdall_sdk
from heimdall_sdk.config import JsonDict
from heimdall_sdk.run import Run

__all__ = ["HeimdallCallback"]

# Of the configuration even if they have their defaults.
_ARGUMENTS = ("learning_rate", "num_train_epochs", "per_device_train_batch_size", "seed",
              "weight_decay", "gradient_accumulation_steps", "lr_scheduler_type")  # fmt: skip
# Where and how things are reported and saved is not what was trained.
_OMITTED = ("output_dir", "logging_dir", "report_to", "run_name", "push_to_hub", "hub_token",
            "hub_model_id", "disable_tqdm")  # fmt: skip
_SAME_EPOCH = 1e-6


class HeimdallCallback(TrainerCallback):
    """Reports what the trainer logs, and stops it on request.

    Takes a run, or the options of `heimdall_sdk.init`. Without `config`, the arguments that differ
    from their defaults are the configuration. Checkpoints are the trainer's own; a stop that was
    requested saves one and ends the training after the current step.
    """

    def __init__(self, run: Run | None = None, **options: Any) -> None:
        super().__init__()
        self._run = run
        self._options = options
        # Of the training, not of evaluations; and the step at which they were logged.
        self._newest: dict[str, float] = {}
        self._newest_step = 0

    @property
    def run(self) -> Run:
        if self._run is None:
            self._run = heimdall_sdk.init(**self._options)
        return self._run

    def checkpoint(self, trainer: Any) -> str | None:
        """The trainer's newest checkpoint of this run, for `resume_from_checkpoint`."""
        self._prepare(trainer.args)
        self.run.restore()
        folder = self.run.restored.get("trainer_checkpoint")
        return str(folder) if folder and Path(str(folder)).is_dir() else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._prepare(args)

    def _prepare(self, args: Any) -> None:
        # With a number of steps, the trainer ignores that of epochs.
        total_epochs = math.ceil(args.num_train_epochs) if args.max_steps <= 0 else None
        if self._run is None:
            self._options.setdefault("config", _configuration(args))
            self._options.setdefault("total_epochs", total_epochs)
        elif self._run.total_epochs is None:
            self._run.total_epochs = total_epochs

    def on_log(
        self, args: Any, state: Any, control: Any, logs: JsonDict | None = None, **more: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        values = {
            name: value for name, value in (logs or {}).items()
            if isinstance(value, (int, float)) and name not in ("epoch", "step")
        }  # fmt: skip
        if not any(name.startswith("eval_") for name in values):
            self._newest, self._newest_step = values, state.global_step
        self.run.log(values, step=state.global_step, epoch=_ended_epoch(state))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        epoch = _ended_epoch(state)
        is_logged = self._newest_step == state.global_step
        if epoch is not None and not is_logged and state.is_world_process_zero:
            # The trainer logs by steps, of which none ended this epoch.
            self.run.log(self._newest, step=state.global_step, epoch=epoch)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self.run.should_stop:
            control.should_save = True
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        epoch = max(math.ceil((state.epoch or 0) - _SAME_EPOCH), 1)
        self.run.checkpoint(epoch, trainer_checkpoint=str(folder.resolve()))


def _ended_epoch(state: Any) -> int | None:
    """The epoch whose last step this is."""
    epoch = round(state.epoch or 0)
    is_end = epoch > 0 and abs((state.epoch or 0) - epoch) < _SAME_EPOCH
    return epoch if is_end else None


def _configuration(args: Any) -> JsonDict:
    given: JsonDict = args.to_sanitized_dict()
    defaults = {
        field.name: field.default for field in dataclasses.fields(args)
        if field.default is not dataclasses.MISSING
    }  # fmt: skip
    return {
        name: value for name, value in given.items()
        if name in _ARGUMENTS
        or (name in defaults and value != defaults[name] and name not in _OMITTED
            and not name.startswith("_"))
    }  # fmt: skip
