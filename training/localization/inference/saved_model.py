"""A trained model on disk: `model.safetensors` and its model card, `card.json`."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import numpy as np
import safetensors.torch
import torch
from pydantic import JsonValue

from training.localization.checkpoints import safetensors_file
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset, Receiver
from training.localization.evaluation.types import (
    Evaluation,
    GoodGeometryMetrics,
    MemberErrors,
    SplitMetrics,
)
from training.localization.fit.state import TrainState
from training.localization.geometry import LocalCoordinates, LocalFrame
from training.localization.localizer.features import FEATURES
from training.localization.localizer.localizer import Localizer
from training.localization.localizer.networks import Ensemble
from training.localization.localizer.normalizer import Normalizer, StoredNormalizer
from training.localization.localizer.portfolio import Portfolio, StoredPortfolio
from training.localization.metrics import ErrorSummary
from training.programs.checkpoint_files import MODEL
from training.programs.durable_write import write_durably

FORMAT = 4
# 2: version 0.2 and older, without `architecture`. 3: without `portfolio` and `stationary`.
_READABLE_FORMATS = (2, 3, FORMAT)
_PORTFOLIO = "portfolio."  # prefix of its tensors
CARD = "card.json"


class StoredReceiver(TypedDict):
    id: str
    lat: float | None
    lon: float | None
    alt_m: float | None


class StoredFrame(TypedDict):
    lat0: float
    lon0: float
    alt0: float


class StoredCoordinates(TypedDict):
    lat: float
    lon: float
    x_m: float
    y_m: float


class StoredModel(TypedDict):
    """The metadata of a model file, whose keys never change."""

    format: int
    config: dict[str, JsonValue]
    normaliser: StoredNormalizer
    receivers: list[StoredReceiver]
    frame: StoredFrame
    refined: bool
    temperature: float
    stretch_95: float
    architecture: NotRequired[int]  # absent in format 2: 1
    portfolio: NotRequired[StoredPortfolio]
    coordinates: NotRequired[StoredCoordinates]  # of a dataset in local meters
    stationary: NotRequired[list[bool]]  # absent before format 4: the receivers with a position


class CardDataset(TypedDict):
    samples: int
    train_samples: int
    kind: str
    split: str
    receivers: list[str]


class CardMetrics(TypedDict):
    verdict: str
    test: SplitMetrics
    members: dict[str, MemberErrors]
    baselines: dict[str, ErrorSummary]
    bound_rmse_m: float | None
    bayes_rmse_m: float | None
    good_geometry: GoodGeometryMetrics


class ModelCard(TypedDict):
    model_sha256: str
    dataset_sha256: str
    dataset: CardDataset
    config: dict[str, JsonValue]
    seed: int
    best_epoch: int | None
    parameters: int
    refined_by_arrival_times: bool
    temperature: float
    stretch_95: float
    metrics: CardMetrics
    versions: dict[str, str]


class ModelError(Exception):
    """The model cannot be read; the message names file and reason."""


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A localizer with the receivers and the local frame of its dataset."""

    localizer: Localizer
    receivers: tuple[Receiver, ...]
    frame: LocalFrame
    stationary: tuple[bool, ...]  # without a row, it was in service and heard nothing
    coordinates: LocalCoordinates | None = None


def save_model(
    folder: Path,
    localizer: Localizer,
    state: TrainState,
    dataset: Dataset,
    evaluation: Evaluation,
) -> None:
    metadata: StoredModel = {
        "format": FORMAT,
        "config": state.config.model_dump(mode="json"),
        "normaliser": state.normalizer.to_dict(),
        "receivers": [
            {
                "id": receiver.id,
                "lat": receiver.lat,
                "lon": receiver.lon,
                "alt_m": receiver.alt_m,
            }
            for receiver in dataset.receivers
        ],
        "frame": {
            "lat0": dataset.frame.lat0,
            "lon0": dataset.frame.lon0,
            "alt0": dataset.frame.alt0,
        },
        "refined": localizer.refined,
        "temperature": localizer.temperature,
        "stretch_95": localizer.stretch_95,
        "architecture": state.model.architecture,
        "stationary": dataset.stationary.tolist(),
    }
    if local := dataset.coordinates:
        metadata["coordinates"] = {
            "lat": local.lat, "lon": local.lon, "x_m": local.x_m, "y_m": local.y_m
        }  # fmt: skip
    weights = {name: weight.contiguous() for name, weight in state.predictor.state_dict().items()}
    if localizer.portfolio is not None:
        metadata["portfolio"] = localizer.portfolio.describe()
        for name, tensor in localizer.portfolio.stored_tensors().items():
            weights[_PORTFOLIO + name] = tensor.contiguous()
    packed = safetensors.torch.save(weights, safetensors_file.encode_metadata(metadata))
    sha256 = hashlib.sha256(packed).hexdigest()
    card = _card(state, dataset, evaluation, localizer, sha256)
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
        header = safetensors_file.read_metadata(packed)
    except ValueError as error:
        raise ModelError(f"{path} is not a model: {error}") from error
    if header.get("format") not in _READABLE_FORMATS:
        raise ModelError(
            f"{path} has format {header.get('format')}, this version reads "
            + ", ".join(map(str, _READABLE_FORMATS))
        )
    metadata = cast(StoredModel, header)
    receivers = tuple(Receiver(**receiver) for receiver in metadata["receivers"])
    config = TrainConfig.model_validate(metadata["config"])
    architecture = metadata.get("architecture", 1)
    network = Ensemble(len(FEATURES), 1 + len(receivers), config, architecture)
    tensors = safetensors.torch.load(packed)
    network.load_state_dict(
        {name: tensor for name, tensor in tensors.items() if not name.startswith(_PORTFOLIO)}
    )
    localizer = Localizer(
        network,
        Normalizer.from_dict(metadata["normaliser"]),
        metadata["refined"],
        metadata["temperature"],
        metadata["stretch_95"],
    )
    if "portfolio" in metadata:
        portfolio = {
            name.removeprefix(_PORTFOLIO): tensor
            for name, tensor in tensors.items()
            if name.startswith(_PORTFOLIO)
        }
        localizer.portfolio = Portfolio.load(metadata["portfolio"], portfolio, localizer.center)
    stationary = metadata.get("stationary", [receiver.fixed for receiver in receivers])
    frame = LocalFrame(**metadata["frame"])
    local = metadata.get("coordinates")
    coordinates = LocalCoordinates(**local) if local else None
    return SavedModel(localizer.eval(), receivers, frame, tuple(stationary), coordinates)


def _card(
    state: TrainState,
    dataset: Dataset,
    evaluation: Evaluation,
    localizer: Localizer,
    sha256: str,
) -> ModelCard:
    return {
        "model_sha256": sha256,
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
        "parameters": sum(weight.numel() for weight in state.model.parameters()),
        "refined_by_arrival_times": localizer.refined,
        "temperature": localizer.temperature,
        "stretch_95": localizer.stretch_95,
        "metrics": {
            "verdict": evaluation["verdict"],
            "members": evaluation["members"],
            "test": evaluation["test"],
            "baselines": evaluation["baselines"],
            "bound_rmse_m": evaluation["bound_rmse_m"],
            "bayes_rmse_m": evaluation["bayes_rmse_m"],
            "good_geometry": evaluation["good_geometry"],
        },
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }
