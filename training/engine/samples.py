"""One split as tensors that stay in memory: what is encoded once is not encoded again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.engine.answer import Answer
from training.engine.dataset import Dataset
from training.engine.features import Encoder, Signals
from training.engine.geometry import Floats
from training.engine.metrics import Predictions
from training.engine.normaliser import Normaliser

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Samples:
    """tokens [N, 1 + R, F], mask [N, 1 + R], target [N, 2] in units; metres [N, 2]."""

    tokens: Tensor
    mask: Tensor
    target: Tensor
    metres: Floats
    signals: Signals

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def of(
        cls, dataset: Dataset, normaliser: Normaliser, split: str, device: torch.device
    ) -> Samples:
        rows = dataset.rows(split)
        metres = dataset.target[rows].astype(float)
        signals = Signals(*(one.to(device) for one in Signals.of(dataset, rows)))
        encoder = Encoder(normaliser).to(device)
        parts = [
            encoder(Signals(*(one[start : start + _BATCH] for one in signals)))
            for start in range(0, len(rows), _BATCH)
        ]
        tokens, mask = (torch.cat(kind) for kind in zip(*parts, strict=True))
        target = torch.from_numpy(normaliser.positions_to_units(metres)).to(device)
        return cls(tokens, mask, target, metres, signals)

    def spread(self, count: int) -> Samples:
        """At most `count` of them, evenly over all; always the same."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))
        signals = Signals(*(one[rows] for one in self.signals))
        return Samples(
            self.tokens[rows], self.mask[rows], self.target[rows], self.metres[rows], signals
        )


@torch.no_grad()
def predict(answer: Answer, samples: Samples) -> Predictions:
    """What the model says of them, in metres."""
    answer.eval()
    means, covariances = [], []
    for start in range(0, len(samples), _BATCH):
        part = slice(start, start + _BATCH)
        said = answer.locator(samples.tokens[part], samples.mask[part])
        mean, covariance = answer.in_metres(*said)
        if answer.refined:
            signals = Signals(*(one[part] for one in samples.signals))
            mean, covariance = answer.sharpen(mean, covariance, signals)
        means.append(mean.cpu())
        covariances.append(covariance.cpu())
    return Predictions(torch.cat(means).numpy(), torch.cat(covariances).numpy())
