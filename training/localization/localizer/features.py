"""Network input: one token per receiver, and one that aggregates all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.localization.data.dataset import Dataset
from training.localization.localizer.normalizer import Normalizer, Scale

FEATURES = (
    "heard", "rssi", "has_rssi", "snr", "has_snr", "toa", "has_toa",
    "east", "north", "altitude", "has_position", "mobile",
)  # fmt: skip
# `mobile` is constant, so a centered token has 1 in its place. A receiver that is out of service or
# hidden during training has only zeros, and looked like one with average signals otherwise.
IN_SERVICE = FEATURES.index("mobile")
_KM = 1000.0
# Weights of the centroids fall by a factor of e per this many dB: from the strongest receiver only
# to all alike.
_CENTROID_SCALES_DB = (3.0, 6.0, 12.0, 24.0, 1e6)
_NO_SIGNAL_DB = -1e9
_CHUNK = 1024  # samples


class Signals(NamedTuple):
    """rssi (dBm), snr (dB), toa (ns) f32 [B, R], NaN where absent; rx f32 [B, R, 3] meters, NaN
    where unknown; in_service bool [B, R]."""

    rssi: Tensor
    snr: Tensor
    toa: Tensor
    rx: Tensor
    in_service: Tensor

    @classmethod
    def from_dataset(cls, dataset: Dataset, rows: NDArray[np.intp]) -> Signals:
        arrays = (dataset.rssi, dataset.snr, dataset.toa, dataset.rx, dataset.in_service)
        return cls(*(torch.from_numpy(np.ascontiguousarray(array[rows])) for array in arrays))


class Encoder(nn.Module):
    """Signals to tokens f32 [B, 1 + R, F] (see FEATURES) and mask bool [B, 1 + R] (True: use).

    The first token aggregates the receivers: centroids of their positions, from the strongest
    receiver only to all alike. A receiver out of service is masked; one that heard nothing has a
    token with `heard` = 0.
    """

    center: Tensor
    mobile: Tensor
    token_center: Tensor | None

    def __init__(self, normalizer: Normalizer) -> None:
        super().__init__()
        self._meters_per_unit, self._toa_ns = normalizer.meters_per_unit, normalizer.toa_ns
        self.register_buffer("center", torch.tensor(normalizer.center, dtype=torch.float32))
        self.register_buffer("mobile", torch.tensor(normalizer.mobile, dtype=torch.float32))
        self._rssi_spread, self._snr_spread = normalizer.rssi.spread, normalizer.snr.spread
        for name, scale in (("rssi", normalizer.rssi), ("snr", normalizer.snr)):
            self._register_scale(name, scale)
        token_center = normalizer.token_center
        self.register_buffer("token_center", torch.tensor(token_center) if token_center else None)

    def _register_scale(self, name: str, scale: Scale) -> None:
        self.register_buffer(f"{name}_level", torch.tensor(scale.level, dtype=torch.float32))
        self.register_buffer(f"{name}_weakest", torch.tensor(scale.weakest, dtype=torch.float32))

    def forward(self, signals: Signals) -> tuple[Tensor, Tensor]:
        has_rssi, has_snr, has_toa = (~kind.isnan() for kind in signals[:3])
        heard = has_rssi | has_snr | has_toa
        position, has_position = self._normalize_positions(signals.rx)
        columns = [
            heard,
            self._standardize(signals.rssi, "rssi", self._rssi_spread),
            has_rssi,
            self._standardize(signals.snr, "snr", self._snr_spread),
            has_snr,
            subtract_emission_time(signals.toa, has_toa) / self._toa_ns,
            has_toa,
            position[..., 0],
            position[..., 1],
            signals.rx[..., 2].nan_to_num() / _KM,
            has_position,
            self.mobile.expand_as(heard),
        ]
        tokens = torch.stack([column.float() for column in columns], dim=-1)
        strength = torch.where(has_rssi, signals.rssi, signals.snr)
        aggregate = self._aggregate(strength, heard, position, has_position)
        mask = torch.cat([torch.ones_like(heard[:, :1]), signals.in_service], dim=1)
        tokens = torch.cat([aggregate.unsqueeze(1), tokens], dim=1)
        if self.token_center is not None:
            tokens = tokens - self.token_center
        return tokens * mask.unsqueeze(-1), mask

    def _standardize(self, signal: Tensor, name: str, spread: float) -> Tensor:
        level, weakest = self.get_buffer(f"{name}_level"), self.get_buffer(f"{name}_weakest")
        filled = torch.where(signal.isnan(), weakest, signal)
        return (filled - level) / spread

    def _normalize_positions(self, rx: Tensor) -> tuple[Tensor, Tensor]:
        """[B, R, 2] in units, 0 where unknown; and [B, R] whether it is known."""
        position = (rx[..., :2] - self.center) / self._meters_per_unit
        return position.nan_to_num(), ~rx[..., 0].isnan()

    def _aggregate(
        self, strength: Tensor, heard: Tensor, position: Tensor, has_position: Tensor
    ) -> Tensor:
        """[B, F]: weighted centroids, and the fraction of receivers that heard the sample.

        Centroids are 0 if no receiver of known position heard it.
        """
        centroids = weighted_centroids(strength, heard & has_position, position)
        heard_fraction = heard.float().mean(dim=1, keepdim=True)
        padding = len(FEATURES) - 2 * len(_CENTROID_SCALES_DB) - 1
        zeros = heard_fraction.new_zeros(heard_fraction.shape[0], padding)
        return torch.cat([centroids, heard_fraction, zeros], dim=1)


def weighted_centroids(strength: Tensor, usable: Tensor, position: Tensor) -> Tensor:
    """[B, 10]: means of the positions [B, R, 2] of the receivers that are `usable` [B, R]."""
    level = torch.where(usable, strength.nan_to_num(), torch.full_like(strength, _NO_SIGNAL_DB))
    below_strongest = level - level.amax(dim=1, keepdim=True)
    centroids = []
    for scale in _CENTROID_SCALES_DB:
        weight = (below_strongest / scale).exp() * usable
        total = weight.sum(dim=1, keepdim=True).clamp(min=1e-9)
        centroids.append((weight.unsqueeze(-1) * position).sum(dim=1) / total)
    return torch.cat(centroids, dim=1)


def fit_token_center(
    normalizer: Normalizer, dataset: Dataset, rows: NDArray[np.intp]
) -> tuple[tuple[float, ...], ...]:
    """Means [1 + R][F] of the features of each receiver while it is in service.

    The position of a fixed receiver and most flags are the same in all samples. Uncentered,
    they would dominate the sums of the first layer, and signals would have little effect.
    """
    encoder = Encoder(replace(normalizer, token_center=None))
    tokens_per_sample = 1 + len(dataset.receivers)
    total = torch.zeros(tokens_per_sample, len(FEATURES), dtype=torch.float64)
    count = torch.zeros(tokens_per_sample, 1)
    for start in range(0, len(rows), _CHUNK):
        tokens, mask = encoder(Signals.from_dataset(dataset, rows[start : start + _CHUNK]))
        total += tokens.sum(dim=0, dtype=torch.float64)
        count += mask.sum(dim=0).unsqueeze(-1)
    center = total / count.clamp(min=1)
    center[:, IN_SERVICE] -= 1
    # Rounded, because each checkpoint holds them as text.
    return tuple(map(tuple, center.numpy().round(6).tolist()))


def subtract_emission_time(toa: Tensor, valid: Tensor) -> Tensor:
    """[B, R] minus the mean of each sample over its arrivals, 0 where absent.

    As `clock_offsets.subtract_emission_time`, but on float32 tensors without NaN, so that it can be
    exported; the two round differently.
    """
    filled = torch.where(valid, toa, torch.zeros_like(toa))
    mean = filled.sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return (filled - mean) * valid
