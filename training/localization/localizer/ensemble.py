"""The network: a small ensemble, whose members disagree where they know little."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.localization.config import TrainConfig
from training.localization.localizer.networks import (
    Attention,
    BatchShard,
    Perceptron,
    gaussian_head,
)

_KINDS = {"mlp": Perceptron, "attention": Attention}


class Ensemble(nn.Module):
    """Tokens [B, R, F] and mask [B, R] to what each of K members says, in units.

    Means [K, B, 2] and Cholesky factors [K, B, 2, 2]; a token that the mask hides counts for
    nothing.
    """

    def __init__(self, features: int, receivers: int, config: TrainConfig) -> None:
        super().__init__()
        self.share = BatchShard()
        kind = _KINDS[config.model]
        self.members = nn.ModuleList(
            kind(features, receivers, config, self.share) for _ in range(config.members)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        said = [gaussian_head(member(tokens, mask).float()) for member in self.members]
        means, factors = zip(*said, strict=True)
        return torch.stack(means), torch.stack(factors)


def pool_gaussians(means: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """The ensemble's mean [B, 2] and covariance [B, 2, 2]: the moments of the mixture.

    Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation Using Deep
    Ensembles: what the members say on average, and how far they are apart.
    """
    mean = means.mean(dim=0)
    apart = (means - mean).unsqueeze(-1)
    return mean, (factors @ factors.mT + apart @ apart.mT).mean(dim=0)
