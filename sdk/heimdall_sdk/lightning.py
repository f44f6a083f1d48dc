"""Runs of Lightning: a logger, and checkpoints from which a training resumes exactly.

logger = HeimdallLogger(project="digits", objective="val_loss")
checkpoint = HeimdallCheckpoint(logger)
trainer = Trainer(logger=logger, callbacks=[checkpoint], plugins=[checkpoint.io])
trainer.fit(model, ckpt_path=checkpoint.restore(trainer, model))
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import heimdall_sdk
from heimdall_sdk import ranks
from heimdall_sdk.config import to_dict
from heimdall_sdk.run import Run

try:
    from lightning.pytorch.callbacks import Callback, Checkpoint
    from lightning.pytorch.loggers.logger import Logger
    from lightning.pytorch.plugins.io import TorchCheckpointIO
    from lightning.pytorch.utilities import rank_zero_only
except ImportError:
    from pytorch_lightning.callbacks import Callback, Checkpoint
    from pytorch_lightning.loggers.logger import Logger
    from pytorch_lightning.plugins.io import TorchCheckpointIO
    from pytorch_lightning.utilities import rank_zero_only

__all__ = ["HeimdallCheckpoint", "HeimdallLogger"]

_STATE_DICT, _REST, _STOPPED, _MONITORED = "state_dict", "lightning", "stopped", "monitored"
# Arguments of the module and the data module: a resumed script has created both already, and they
# may be anything, such as a network or a partial function.
_ARGUMENTS = {
    f"{prefix}{name}"
    for prefix in ("", "datamodule_")
    for name in ("hyper_parameters", "hparams_name", "hparams_type")
}


class HeimdallLogger(Logger):
    """Reports what the modules log, epoch by epoch, and stops the trainer on request.

    Takes a run, or the options of `heimdall_sdk.init`. Without `config`, hyperparameters that the
    module saves are the configuration.
    """

    def __init__(self, run: Run | None = None, **options: Any) -> None:
        super().__init__()
        self._run = run
        self._options = options
        self._newest_step = 0

    @property
    def run(self) -> Run:
        if self._run is None:
            self._run = heimdall_sdk.init(**self._options)
        return self._run

    @property
    def experiment(self) -> Run:
        return self.run

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def version(self) -> str:
        return self.run.id

    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, *args: Any, **options: Any
    ) -> None:
        if self._run is None and self._options.get("config") is None:
            self._options["config"] = to_dict(params)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Lightning calls this when a fit begins; it is the first access to the trainer."""
        trainer = model.trainer
        if not any(isinstance(one, _EpochCallback) for one in trainer.callbacks):
            trainer.callbacks.append(_EpochCallback(self))
        self.note_epochs(trainer)

    def note_epochs(self, trainer: Any) -> None:
        if trainer.max_epochs is None or trainer.max_epochs < 1:
            return
        if self._run is None:
            self._options.setdefault("total_epochs", trainer.max_epochs)
        elif self._run.total_epochs is None:
            self._run.total_epochs = trainer.max_epochs

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Every call has the epoch number, but few are at its end; see _EpochCallback.
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        self._newest_step = self._newest_step if step is None else step
        self.run.log(values, step=self._newest_step)

    def log_epoch(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        self.run.log(dict(metrics), epoch=epoch, step=self._newest_step)


class _EpochCallback(Callback):
    """Reports the metrics of each epoch when it has ended."""

    def __init__(self, logger: HeimdallLogger) -> None:
        self._logger = logger
        self._validation_metrics: set[str] = set()
        self._is_validated = False

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        if not trainer.sanity_checking:
            self._is_validated = True

    def on_validation_epoch_start(self, trainer: Any, module: Any) -> None:
        self._before = set(trainer.callback_metrics)

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        self._validation_metrics |= set(trainer.callback_metrics) - self._before

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        metrics = dict(trainer.callback_metrics)
        if not self._is_validated:
            # Lightning keeps the values of the validation before.
            metrics = {
                name: value for name, value in metrics.items()
                if name not in self._validation_metrics
            }  # fmt: skip
        self._is_validated = False
        if trainer.is_global_zero:
            self._logger.log_epoch(trainer.current_epoch + 1, metrics)
        if ranks.agree(self._logger.run.should_stop):
            trainer.should_stop = True


class HeimdallCheckpoint(Checkpoint):
    """Checkpoints after each epoch, in the run's folder and without pickle.

    With `seed_epochs`, each epoch begins with the seed of the run and its number, so that a resumed
    training computes the same numbers.
    """

    def __init__(self, logger: HeimdallLogger, *, seed_epochs: bool = True) -> None:
        self._logger = logger
        self._seeds = seed_epochs
        self._seeded_epoch = 0
        self.io = _CheckpointIO(logger)

    def restore(self, trainer: Any, model: Any) -> str | None:
        """Load the newest checkpoint; pass the result to `fit` as `ckpt_path`."""
        # The run begins here: later it would be too late for its configuration.
        if model.hparams:
            self._logger.log_hyperparams(model.hparams)
        self._logger.note_epochs(trainer)
        run = self._logger.run
        if not run.restore(model=model):
            return None
        self.io.restored = {**run.restored[_REST], _STATE_DICT: model.state_dict()}
        return str(self.io.path)

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        # Lightning does not store that an early stopping has ended the training: a script that was
        # killed afterwards, such as during its test, would train one more epoch.
        if self._logger.run.restored.get(_STOPPED):
            trainer.should_stop = True
        # Before the data loaders are created: they draw the seeds of their workers.
        restored = self.io.restored
        self._seed(trainer.current_epoch + 1 if restored is None else restored["epoch"] + 2)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        # Lightning steps ReduceLROnPlateau after the checkpoint, and does not store its metric: a
        # resumed training would lack the step.
        if self.io.restored is not None:
            for number, value in self._logger.run.restored.get(_MONITORED, {}).items():
                module.lr_scheduler_step(trainer.lr_scheduler_configs[int(number)].scheduler, value)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self._seed(trainer.current_epoch + 1)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.io.monitored = {
            str(number): trainer.callback_metrics[one.monitor].detach().cpu()
            for number, one in enumerate(trainer.lr_scheduler_configs)
            if one.reduce_on_plateau
            and one.interval == "epoch"
            and (trainer.current_epoch + 1) % one.frequency == 0
            and one.monitor in trainer.callback_metrics
        }
        self.io.stopped = bool(trainer.should_stop) and not self._logger.run.should_stop
        trainer.save_checkpoint(self.io.path)

    def _seed(self, epoch: int) -> None:
        if self._seeds and epoch != self._seeded_epoch:
            self._logger.run.seed_epoch(epoch)
            self._seeded_epoch = epoch


class _CheckpointIO(TorchCheckpointIO):
    """Passes the checkpoints of the callback to the run; those of others are files as usual."""

    def __init__(self, logger: HeimdallLogger) -> None:
        super().__init__()
        self._logger = logger
        self.restored: dict[str, Any] | None = None
        self.monitored: dict[str, Any] = {}
        self.stopped = False

    @property
    def path(self) -> Path:
        return self._logger.run.directory / "lightning"

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        if Path(path) != self.path:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        left_out = {_STATE_DICT, *_ARGUMENTS}
        rest = {name: value for name, value in checkpoint.items() if name not in left_out}
        epoch = int(checkpoint["epoch"]) + 1
        more = {_REST: rest, _STOPPED: self.stopped, _MONITORED: self.monitored}
        self._logger.run.checkpoint(epoch, model=checkpoint[_STATE_DICT], **more)

    def load_checkpoint(
        self, path: str | os.PathLike[str], *args: Any, **options: Any
    ) -> dict[str, Any]:
        if self.restored is not None and Path(path) == self.path:
            return self.restored
        loaded: dict[str, Any] = super().load_checkpoint(path, *args, **options)
        return loaded
