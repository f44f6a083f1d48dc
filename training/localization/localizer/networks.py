"""One member of the ensemble: from what each receiver heard to a Gaussian on the plane."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.localization.config import TrainConfig

# Standard deviations stay within e^-7 and e^3 units: beyond, the likelihood has no useful slope.
_LOWEST, _HIGHEST = -7.0, 3.0


class BatchShard:
    """Which rows of the batch this process computes: `mine` of `total`."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.mine = slice(None)


class Dropout(nn.Module):
    """Draws for the whole batch, whatever part of it is computed here.

    So two processes that share a batch drop what one alone would have dropped.
    """

    def __init__(self, chance: float, share: BatchShard) -> None:
        super().__init__()
        self.chance, self.share = chance, share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.chance == 0:
            return x
        shape = (self.share.total or len(x), *x.shape[1:])
        kept = torch.rand(shape, device=x.device)[self.share.mine] >= self.chance
        return x * kept / (1 - self.chance)


class Perceptron(nn.Module):
    """Every receiver has weights of its own; what they make of its token is added up.

    That is a dense first layer over all receivers in which the missing ones are masked: right where
    the same receivers hear again and again, since each learns its own gain, place and surroundings.
    """

    def __init__(
        self, features: int, receivers: int, config: TrainConfig, share: BatchShard
    ) -> None:
        super().__init__()
        width = config.hidden
        # Half of the receivers hear a sample, as a rule; the sum starts with about unit variance.
        scale = math.sqrt(2 / max(receivers, 1))
        self.receiver = nn.Parameter(torch.randn(receivers, features, width) * scale / 2)
        self.blocks = nn.Sequential(
            *(Residual(width, config.dropout, share) for _ in range(config.layers))
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, 5))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        seen = tokens * mask.unsqueeze(-1)  # [B, R, F]
        x = seen.flatten(1) @ self.receiver.flatten(0, 1)  # [B, W]
        return cast(Tensor, self.head(self.blocks(x)))


class Residual(nn.Module):
    """x + f(norm(x)), f with one hidden layer (He et al. 2016; Xiong et al. 2020)."""

    def __init__(self, width: int, dropout: float, share: BatchShard) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            Dropout(dropout, share),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.inner(x))


class Attention(nn.Module):
    """Receivers as a set of tokens that attend to each other, pooled by one more token.

    What is learnt of one receiver's place helps with another: right where receivers move, or where
    each hears little. Each has an embedding of its own, since gains are not calibrated.
    """

    def __init__(
        self, features: int, receivers: int, config: TrainConfig, share: BatchShard
    ) -> None:
        super().__init__()
        width = config.hidden
        self.lift = nn.Linear(features, width)
        self.receiver = nn.Parameter(torch.randn(receivers, width) / 2)
        self.summary = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(Block(width, config, share) for _ in range(config.layers))
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 5)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.lift(tokens) + self.receiver  # [B, R, W]
        summary = self.summary.expand(x.shape[0], 1, -1)
        x = torch.cat([summary, x], dim=1)  # [B, 1 + R, W]
        # The summary token is always there, so no row of the attention is ever empty.
        visible = functional.pad(mask, (1, 0), value=True)[:, None, None, :]  # [B, 1, 1, 1 + R]
        for block in self.blocks:
            x = block(x, visible)
        return cast(Tensor, self.head(x[:, 0]))


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each after a norm (Xiong et al. 2020)."""

    def __init__(self, width: int, config: TrainConfig, share: BatchShard) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(config.dropout, share)
        self.forward_layer = Residual(width, config.dropout, share)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        x = x + self.dropout(self._attend(self.norm(x), visible))
        return cast(Tensor, self.forward_layer(x))

    def _attend(self, x: Tensor, visible: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        split = self.query_key_value(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # [B, heads, tokens, width / heads]
        mixed = functional.scaled_dot_product_attention(query, key, value, visible)
        return cast(Tensor, self.out(mixed.transpose(1, 2).reshape(batch, tokens, width)))


def gaussian_head(raw: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 5] to a mean [B, 2] and the lower Cholesky factor [B, 2, 2] of a covariance."""
    mean, log_scale, shear = raw[:, :2], raw[:, 2:4], raw[:, 4]
    scale = log_scale.clamp(_LOWEST, _HIGHEST).exp()
    nothing = torch.zeros_like(shear)
    factor = torch.stack([scale[:, 0], nothing, shear, scale[:, 1]], dim=1)
    return mean, factor.reshape(-1, 2, 2)


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
