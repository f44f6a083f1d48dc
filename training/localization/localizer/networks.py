"""The ensemble of networks: tokens of receivers to Gaussians on the plane."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.localization.config import TrainConfig
from training.localization.localizer.features import IN_SERVICE

# Bounds of the log standard deviation in units: beyond them the likelihood has no useful gradient.
_MIN_LOG_SCALE, _MAX_LOG_SCALE = -7.0, 3.0
# What a new network of each kind is built as. 1 is that of files without the field, which version
# 0.2 wrote. 2: tokens are centered, the covariance has layers of its own, and weights are averaged.
ARCHITECTURES = {"mlp": 2, "attention": 1}
_COVARIANCE_WIDTH = 64


class BatchShard:
    """The rows of the current batch that this process computes, shared with all Dropout layers."""

    def __init__(self) -> None:
        self.batch_size: int | None = None  # None: the input is the whole batch
        self.rows = slice(None)

    def set(self, batch_size: int, rows: slice) -> None:
        self.batch_size, self.rows = batch_size, rows


class Dropout(nn.Module):
    """Dropout that draws random numbers for the whole batch on every process.

    So the result does not depend on the number of processes that share a batch.
    """

    def __init__(self, p: float, shard: BatchShard) -> None:
        super().__init__()
        self.p, self.shard = p, shard

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        shape = (self.shard.batch_size or len(x), *x.shape[1:])
        kept = torch.rand(shape, device=x.device)[self.shard.rows] >= self.p
        return x * kept / (1 - self.p)


class Perceptron(nn.Module):
    """A dense first layer over the masked tokens of all receivers, then residual blocks.

    Each receiver has its own weights, which learn its gain, position and surroundings. Suited to
    receivers that are the same in all samples.
    """

    def __init__(
        self,
        features: int,
        receivers: int,
        config: TrainConfig,
        shard: BatchShard,
        architecture: int,
    ) -> None:
        super().__init__()
        width = config.hidden
        # For about unit variance of the sum if half of the receivers hear a sample.
        scale = math.sqrt(2 / max(receivers, 1))
        weight = torch.randn(receivers, features, width) * scale / 2
        if architecture > 1:
            weight[:, IN_SERVICE] = 0  # or these constants would add up to more than the signals
        self.receiver = nn.Parameter(weight)
        self.blocks = nn.Sequential(
            *(Residual(width, config.dropout, shard) for _ in range(config.layers))
        )
        self.head = nn.Sequential(
            nn.LayerNorm(width),
            nn.GELU(),
            DetachedReadout(width) if architecture > 1 else nn.Linear(width, 5),
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        masked = tokens * mask.unsqueeze(-1)  # [B, R, F]
        x = masked.flatten(1) @ self.receiver.flatten(0, 1)  # [B, W]
        return cast(Tensor, self.head(self.blocks(x)))


class Residual(nn.Module):
    """x + f(norm(x)), where f has one hidden layer (He et al. 2016; Xiong et al. 2020)."""

    def __init__(self, width: int, dropout: float, shard: BatchShard) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            Dropout(dropout, shard),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.inner(x))


class DetachedReadout(nn.Module):
    """Features [B, W] to the five numbers of `gaussian_head`.

    The covariance reads detached features, so that the likelihood trains nothing the mean depends
    on: it would compete with the mean for the features, and its gradients are larger.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Linear(width, 2)
        self.covariance = nn.Sequential(
            nn.Linear(width, _COVARIANCE_WIDTH), nn.GELU(), nn.Linear(_COVARIANCE_WIDTH, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.mean(x), self.covariance(x.detach())], dim=1)


class Attention(nn.Module):
    """Self-attention over the tokens of the receivers, pooled by a summary token.

    Receivers share weights, so what is learned about one applies to the others. Suited to receivers
    that move or hear few samples. Each has its own embedding, because gains are not calibrated.
    """

    def __init__(
        self,
        features: int,
        receivers: int,
        config: TrainConfig,
        shard: BatchShard,
        architecture: int,
    ) -> None:
        super().__init__()
        assert architecture == 1
        width = config.hidden
        self.lift = nn.Linear(features, width)
        self.receiver = nn.Parameter(torch.randn(receivers, width) / 2)
        self.summary = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(Block(width, config, shard) for _ in range(config.layers))
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 5)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.lift(tokens) + self.receiver  # [B, R, W]
        summary = self.summary.expand(x.shape[0], 1, -1)
        x = torch.cat([summary, x], dim=1)  # [B, 1 + R, W]
        # The summary token is always visible, so no row of the attention is empty.
        visible = functional.pad(mask, (1, 0), value=True)[:, None, None, :]  # [B, 1, 1, 1 + R]
        for block in self.blocks:
            x = block(x, visible)
        return cast(Tensor, self.head(x[:, 0]))


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward layer (Xiong et al. 2020)."""

    def __init__(self, width: int, config: TrainConfig, shard: BatchShard) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(config.dropout, shard)
        self.forward_layer = Residual(width, config.dropout, shard)

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
    # [B, 5] to a mean [B, 2] and the lower Cholesky factor [B, 2, 2] of a covariance.
    mean, log_scale, shear = raw[:, :2], raw[:, 2:4], raw[:, 4]
    scale = log_scale.clamp(_MIN_LOG_SCALE, _MAX_LOG_SCALE).exp()
    zero = torch.zeros_like(shear)
    factor = torch.stack([scale[:, 0], zero, shear, scale[:, 1]], dim=1)
    return mean, factor.reshape(-1, 2, 2)


_MODELS = {"mlp": Perceptron, "attention": Attention}


class Ensemble(nn.Module):
    """Tokens [B, R, F] and mask [B, R] to one Gaussian from each of K members, in units.

    Means [K, B, 2] and Cholesky factors [K, B, 2, 2]. Tokens with a False mask are ignored.
    """

    def __init__(
        self, features: int, receivers: int, config: TrainConfig, architecture: int
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.shard = BatchShard()
        model = _MODELS[config.model]
        self.members = nn.ModuleList(
            model(features, receivers, config, self.shard, architecture)
            for _ in range(config.members)
        )

    def clip_groups(self) -> list[list[nn.Parameter]]:
        """The weights whose gradients are clipped together, for each member.

        The layers of the covariance are clipped apart, so that they do not shrink the others'.
        """
        groups: list[list[nn.Parameter]] = []
        for member in self.members:
            named = list(member.named_parameters())
            apart = [weight for name, weight in named if ".covariance." in name]
            groups.append([weight for name, weight in named if ".covariance." not in name])
            groups += [apart] if apart else []
        return groups

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        gaussians = [gaussian_head(member(tokens, mask).float()) for member in self.members]
        means, factors = zip(*gaussians, strict=True)
        return torch.stack(means), torch.stack(factors)


def pool_gaussians(means: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [B, 2] and covariance [B, 2, 2] of the mixture of the members' Gaussians.

    The covariance is the mean of the members' plus the scatter of their means (Lakshminarayanan et
    al. 2017, Simple and Scalable Predictive Uncertainty Estimation Using Deep Ensembles).
    """
    mean = means.mean(dim=0)
    delta = (means - mean).unsqueeze(-1)
    return mean, (factors @ factors.mT + delta @ delta.mT).mean(dim=0)
