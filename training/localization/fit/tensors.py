"""One split, encoded once and kept in memory as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.localization.data.dataset import Dataset, Split
from training.localization.geometry import Floats
from training.localization.localizer.features import Encoder, Signals
from training.localization.localizer.localizer import BATCH, Localizer
from training.localization.localizer.normalizer import Normalizer
from training.localization.metrics import Predictions


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """tokens [N, 1 + R, F], mask [N, 1 + R], target [N, 2] in units, target_meters [N, 2]."""

    tokens: Tensor
    mask: Tensor
    target: Tensor
    target_meters: Floats
    signals: Signals

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def from_dataset(
        cls, dataset: Dataset, normalizer: Normalizer, split: Split, device: torch.device
    ) -> EncodedSplit:
        rows = dataset.rows(split)
        target_meters = dataset.target[rows].astype(float)
        signals = Signals(*(signal.to(device) for signal in Signals.from_dataset(dataset, rows)))
        encoder = Encoder(normalizer).to(device)
        parts = [
            encoder(Signals(*(signal[start : start + BATCH] for signal in signals)))
            for start in range(0, len(rows), BATCH)
        ]
        tokens, mask = (torch.cat(kind) for kind in zip(*parts, strict=True))
        target = torch.from_numpy(normalizer.positions_to_units(target_meters)).to(device)
        return cls(tokens, mask, target, target_meters, signals)

    def subsample(self, count: int) -> EncodedSplit:
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))
        return EncodedSplit(
            self.tokens[rows],
            self.mask[rows],
            self.target[rows],
            self.target_meters[rows],
            Signals(*(signal[rows] for signal in self.signals)),
        )


@torch.no_grad()
def predict_encoded(localizer: Localizer, samples: EncodedSplit) -> tuple[Predictions, Predictions]:
    """Uncalibrated predictions in meters: of the networks alone, and after refinement."""
    localizer.eval()
    network, refined = [], []
    for start in range(0, len(samples), BATCH):
        batch = slice(start, start + BATCH)
        gaussians = localizer.ensemble(samples.tokens[batch], samples.mask[batch])
        predicted = localizer.to_meters(*gaussians)
        network.append(predicted)
        if localizer.refined:
            signals = Signals(*(signal[batch] for signal in samples.signals))
            predicted = localizer.refine(*predicted, signals)
        refined.append(predicted)
    return _concatenate(network), _concatenate(refined)


def _concatenate(parts: list[tuple[Tensor, Tensor]]) -> Predictions:
    means, covariances = (torch.cat(kind).cpu().numpy() for kind in zip(*parts, strict=True))
    return Predictions(means, covariances)
