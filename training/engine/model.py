"""The network: receivers as a set of tokens, pooled by attention into a Gaussian on the plane."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.engine.config import TrainConfig

# Standard deviations stay within e^-7 and e^3 units: beyond, the likelihood has no useful slope.
_LOWEST, _HIGHEST = -7.0, 3.0


class Locator(nn.Module):
    """Tokens [B, R, F] and mask [B, R] to a mean [B, 2] and a Cholesky factor [B, 2, 2], in units.

    Any receivers may be missing: a token that the mask hides is attended to by nobody. Each
    receiver has an embedding of its own, since gains are not calibrated.
    """

    def __init__(self, features: int, receivers: int, config: TrainConfig) -> None:
        super().__init__()
        width = config.hidden
        self.lift = nn.Linear(features, width)
        self.receiver = nn.Embedding(receivers, width)
        self.summary = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 5))

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        batch, receivers, _ = tokens.shape
        x = self.lift(tokens) + self.receiver.weight[:receivers]  # [B, R, W]
        x = torch.cat([self.summary.expand(batch, 1, -1), x], dim=1)  # [B, 1 + R, W]
        # The summary token is always there, so no row of the attention is ever empty.
        visible = functional.pad(mask, (1, 0), value=True)[:, None, None, :]  # [B, 1, 1, 1 + R]
        for block in self.blocks:
            x = block(x, visible)
        return gaussian(self.head(self.norm(x[:, 0])))


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each after a norm (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.forward_layer = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        x = x + self._attend(self.norm_attention(x), visible)
        return cast(Tensor, x + self.forward_layer(self.norm_forward(x)))

    def _attend(self, x: Tensor, visible: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        split = self.query_key_value(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # [B, heads, tokens, width / heads]
        mixed = functional.scaled_dot_product_attention(
            query, key, value, visible, dropout_p=self.dropout if self.training else 0.0
        )
        return cast(Tensor, self.out(mixed.transpose(1, 2).reshape(batch, tokens, width)))


def gaussian(raw: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 5] to a mean [B, 2] and the lower Cholesky factor [B, 2, 2] of a covariance."""
    mean, log_scale, shear = raw[:, :2], raw[:, 2:4], raw[:, 4]
    scale = log_scale.clamp(_LOWEST, _HIGHEST).exp()
    factor = torch.diag_embed(scale)
    lower = torch.zeros_like(factor)
    lower[:, 1, 0] = shear
    return mean, factor + lower
