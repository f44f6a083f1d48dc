"""Network input: one token per receiver, and one that aggregates all of them."""

from __future__ import annotations

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
_KM = 1000.0
# Weights of the centroids fall by a factor of e per this many dB: from the strongest receiver only
# to all alike.
_CENTROID_SCALES_DB = (3.0, 6.0, 12.0, 24.0, 1e6)
_NO_SIGNAL_DB = -1e9


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

    def __init__(self, normalizer: Normalizer) -> None:
        super().__init__()
        self._meters_per_unit, self._toa_ns = normalizer.meters_per_unit, normalizer.toa_ns
        self.register_buffer("center", torch.tensor(normalizer.center, dtype=torch.float32))
        self.register_buffer("mobile", torch.tensor(normalizer.mobile, dtype=torch.float32))
        self._rssi_spread, self._snr_spread = normalizer.rssi.spread, normalizer.snr.spread
        for name, scale in (("rssi", normalizer.rssi), ("snr", normalizer.snr)):
            self._register_scale(name, scale)

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
        tokens = tokens * signals.in_service.unsqueeze(-1)
        strength = torch.where(has_rssi, signals.rssi, signals.snr)
        aggregate = self._aggregate(strength, heard, position, has_position)
        mask = torch.cat([torch.ones_like(heard[:, :1]), signals.in_service], dim=1)
        return torch.cat([aggregate.unsqueeze(1), tokens], dim=1), mask

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
        usable = heard & has_position
        level = torch.where(usable, strength.nan_to_num(), torch.full_like(strength, _NO_SIGNAL_DB))
        below_strongest = level - level.amax(dim=1, keepdim=True)
        centroids = []
        for scale in _CENTROID_SCALES_DB:
            weight = (below_strongest / scale).exp() * usable
            total = weight.sum(dim=1, keepdim=True).clamp(min=1e-9)
            centroids.append((weight.unsqueeze(-1) * position).sum(dim=1) / total)
        heard_fraction = heard.float().mean(dim=1, keepdim=True)
        padding = len(FEATURES) - 2 * len(_CENTROID_SCALES_DB) - 1
        zeros = heard_fraction.new_zeros(heard_fraction.shape[0], padding)
        return torch.cat([*centroids, heard_fraction, zeros], dim=1)


def subtract_emission_time(toa: Tensor, valid: Tensor) -> Tensor:
    """[B, R] minus the mean of each sample over its arrivals, 0 where absent.

    As `clock_offsets.subtract_emission_time`, but on float32 tensors without NaN, so that it can be
    exported; the two round differently.
    """
    filled = torch.where(valid, toa, torch.zeros_like(toa))
    mean = filled.sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return (filled - mean) * valid
