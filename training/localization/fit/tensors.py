"""One split as tensors that stay in memory: what is encoded once is not encoded again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.localization.data.dataset import Dataset
from training.localization.geometry import Floats
from training.localization.localizer.features import Encoder, Signals
from training.localization.localizer.localizer import BATCH, Localizer
from training.localization.localizer.normalizer import Normalizer
from training.localization.metrics import Predictions


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """tokens [N, 1 + R, F], mask [N, 1 + R], target [N, 2] in units; metres [N, 2]."""

    tokens: Tensor
    mask: Tensor
    target: Tensor
    metres: Floats
    signals: Signals

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def from_dataset(
        cls, dataset: Dataset, normalizer: Normalizer, split: str, device: torch.device
    ) -> EncodedSplit:
        rows = dataset.rows(split)
        metres = dataset.target[rows].astype(float)
        signals = Signals(*(one.to(device) for one in Signals.from_dataset(dataset, rows)))
        encoder = Encoder(normalizer).to(device)
        parts = [
            encoder(Signals(*(one[start : start + BATCH] for one in signals)))
            for start in range(0, len(rows), BATCH)
        ]
        tokens, mask = (torch.cat(kind) for kind in zip(*parts, strict=True))
        target = torch.from_numpy(normalizer.positions_to_units(metres)).to(device)
        return cls(tokens, mask, target, metres, signals)

    def spread(self, count: int) -> EncodedSplit:
        """At most `count` of them, evenly over all; always the same."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))
        signals = Signals(*(one[rows] for one in self.signals))
        return EncodedSplit(
            self.tokens[rows], self.mask[rows], self.target[rows], self.metres[rows], signals
        )


@torch.no_grad()
def predict_rows(answer: Localizer, samples: EncodedSplit) -> tuple[Predictions, Predictions]:
    """What the network says of them, in metres, and what is answered after Gauss-Newton."""
    answer.eval()
    network, answered = [], []
    for start in range(0, len(samples), BATCH):
        part = slice(start, start + BATCH)
        said = answer.to_metres(*answer.locator(samples.tokens[part], samples.mask[part]))
        network.append(said)
        if answer.refined:
            said = answer.sharpen(*said, Signals(*(one[part] for one in samples.signals)))
        answered.append(said)
    return _joined(network), _joined(answered)


def _joined(parts: list[tuple[Tensor, Tensor]]) -> Predictions:
    means, covariances = (torch.cat(kind).cpu().numpy() for kind in zip(*parts, strict=True))
    return Predictions(means, covariances)
