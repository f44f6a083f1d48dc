"""A trained model on disk: `model.safetensors` for answers, `card.json` for people."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from training.localization.checkpoints import safetensors_file
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset, Receiver
from training.localization.fit.state import TrainState
from training.localization.geometry import LocalFrame
from training.localization.localizer.features import FEATURES
from training.localization.localizer.localizer import Localizer
from training.localization.localizer.networks import Ensemble
from training.localization.localizer.normalizer import Normalizer
from training.programs.checkpoint_files import MODEL
from training.programs.durable_write import write_durably

FORMAT = 2
CARD = "card.json"


class ModelError(Exception):
    """The model cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class SavedModel:
    """An answer, and the receivers and the plane that it speaks of."""

    answer: Localizer
    receivers: tuple[Receiver, ...]
    frame: LocalFrame


def save_model(
    folder: Path,
    answer: Localizer,
    state: TrainState,
    dataset: Dataset,
    evaluation: Mapping[str, object],
) -> None:
    """Write the model and its card."""
    about = {
        "format": FORMAT,
        "config": state.config.model_dump(mode="json"),
        "normaliser": state.normalizer.to_dict(),
        "receivers": [asdict(receiver) for receiver in dataset.receivers],
        "frame": asdict(dataset.frame),
        "refined": answer.refined,
        "temperature": answer.temperature,
        "stretch_95": answer.stretch_95,
    }
    weights = {name: one.contiguous() for name, one in state.model.state_dict().items()}
    packed = safetensors.torch.save(weights, safetensors_file.metadata(about))
    summed = hashlib.sha256(packed).hexdigest()
    card = _card(state, dataset, evaluation, answer, summed)
    write_durably((folder / MODEL, packed), (folder / CARD, json.dumps(card, indent=1).encode()))


def load_model(path: Path) -> SavedModel:
    """Load the model at `path` and its card in the same folder; raises ModelError."""
    try:
        packed = path.read_bytes()
        card = json.loads(path.with_name(CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(packed).hexdigest() != card.get("model_sha256"):
        raise ModelError(f"{path} is damaged: its content does not match its card")
    try:
        kept = safetensors_file.about(packed)
    except ValueError as error:
        raise ModelError(f"{path} is no model: {error}") from error
    if kept.get("format") != FORMAT:
        raise ModelError(f"{path} has format {kept.get('format')}, this version reads {FORMAT}")
    receivers = tuple(Receiver(**one) for one in kept["receivers"])
    config = TrainConfig.model_validate(kept["config"])
    locator = Ensemble(len(FEATURES), 1 + len(receivers), config)
    locator.load_state_dict(safetensors.torch.load(packed))
    answer = Localizer(
        locator,
        Normalizer.from_dict(kept["normaliser"]),
        kept["refined"],
        kept["temperature"],
        kept["stretch_95"],
    )
    return SavedModel(answer.eval(), receivers, LocalFrame(**kept["frame"]))


def _card(
    state: TrainState,
    dataset: Dataset,
    evaluation: Mapping[str, object],
    answer: Localizer,
    summed: str,
) -> dict[str, Any]:
    """What it was made of, with what, and how good it is."""
    reported = ("test", "baselines", "bound_rmse_m", "bayes_rmse_m", "good_geometry")
    return {
        "model_sha256": summed,
        "dataset_sha256": state.dataset_hash,
        "dataset": {
            "samples": len(dataset),
            "train_samples": len(dataset.rows("train")),
            "kind": dataset.kind,
            "split": dataset.split_by,
            "receivers": [receiver.id for receiver in dataset.receivers],
        },
        "config": state.config.model_dump(mode="json"),
        "seed": state.config.seed,
        "best_epoch": state.best_epoch,
        "parameters": sum(one.numel() for one in state.model.parameters()),
        "refined_by_arrival_times": answer.refined,
        "temperature": answer.temperature,
        "stretch_95": answer.stretch_95,
        "metrics": {name: evaluation[name] for name in reported},
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }
