"""What the network sees: one token per receiver, and one for what they heard together."""

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
    "east", "north", "altitude", "has_place", "moves",
)  # fmt: skip
_KM = 1000.0
# Of centroids whose weights fall by e over so many dB: from the loudest to all alike.
_SOFTNESS_DB = (3.0, 6.0, 12.0, 24.0, 1e6)
_SILENT = -1e9


class Signals(NamedTuple):
    """rssi (dBm), snr (dB), toa (ns) f32 [B, R], NaN where absent; rx f32 [B, R, 3] metres, NaN
    where unknown; in_service bool [B, R]."""

    rssi: Tensor
    snr: Tensor
    toa: Tensor
    rx: Tensor
    in_service: Tensor

    @classmethod
    def from_dataset(cls, dataset: Dataset, rows: NDArray[np.intp]) -> Signals:
        """Of the samples `rows`; arrivals less their mean, so that 32 bits hold them."""
        arrays = (dataset.rssi, dataset.snr, dataset.toa, dataset.rx, dataset.in_service)
        return cls(*(torch.from_numpy(np.ascontiguousarray(array[rows])) for array in arrays))


class Encoder(nn.Module):
    """Signals to tokens f32 [B, 1 + R, F] (see FEATURES) and mask bool [B, 1 + R] (True: usable).

    The first token says what the receivers heard together: centroids of their places, from the
    loudest one to all alike. A receiver out of service has no token, a silent one says so.
    """

    centre: Tensor
    moves: Tensor

    def __init__(self, normalizer: Normalizer) -> None:
        super().__init__()
        self._metres, self._toa_ns = normalizer.metres, normalizer.toa_ns
        self.register_buffer("centre", torch.tensor(normalizer.centre, dtype=torch.float32))
        self.register_buffer("moves", torch.tensor(normalizer.moves, dtype=torch.float32))
        self._scales = [normalizer.rssi.spread, normalizer.snr.spread]
        for name, scale in (("rssi", normalizer.rssi), ("snr", normalizer.snr)):
            self._keep(name, scale)

    def _keep(self, name: str, scale: Scale) -> None:
        self.register_buffer(f"{name}_level", torch.tensor(scale.level, dtype=torch.float32))
        self.register_buffer(f"{name}_weakest", torch.tensor(scale.weakest, dtype=torch.float32))

    def forward(self, signals: Signals) -> tuple[Tensor, Tensor]:
        has_rssi, has_snr, has_toa = (~kind.isnan() for kind in signals[:3])
        heard = has_rssi | has_snr | has_toa
        place, known = self._places(signals.rx)
        columns = [
            heard,
            self._standard(signals.rssi, "rssi", self._scales[0]),
            has_rssi,
            self._standard(signals.snr, "snr", self._scales[1]),
            has_snr,
            subtract_emission_time(signals.toa, has_toa) / self._toa_ns,
            has_toa,
            place[..., 0],
            place[..., 1],
            signals.rx[..., 2].nan_to_num() / _KM,
            known,
            self.moves.expand_as(heard),
        ]
        tokens = torch.stack([column.float() for column in columns], dim=-1)
        tokens = tokens * signals.in_service.unsqueeze(-1)
        together = self._together(
            torch.where(has_rssi, signals.rssi, signals.snr), heard, place, known
        )
        mask = torch.cat([torch.ones_like(heard[:, :1]), signals.in_service], dim=1)
        return torch.cat([together.unsqueeze(1), tokens], dim=1), mask

    def _standard(self, signal: Tensor, name: str, spread: float) -> Tensor:
        """About unit variance; the weakest that the receiver ever reported where it is silent."""
        level, weakest = self.get_buffer(f"{name}_level"), self.get_buffer(f"{name}_weakest")
        filled = torch.where(signal.isnan(), weakest, signal)
        return (filled - level) / spread

    def _places(self, rx: Tensor) -> tuple[Tensor, Tensor]:
        """[B, R, 2] in units, 0 where unknown; and whether it is known."""
        place = (rx[..., :2] - self.centre) / self._metres
        return place.nan_to_num(), ~rx[..., 0].isnan()

    def _together(self, strength: Tensor, heard: Tensor, place: Tensor, known: Tensor) -> Tensor:
        """[B, F]: centroids, the share that heard it; where nobody of known place did, zeros."""
        usable = heard & known
        level = torch.where(usable, strength.nan_to_num(), torch.full_like(strength, _SILENT))
        below = level - level.amax(dim=1, keepdim=True)
        parts = []
        for softness in _SOFTNESS_DB:
            weight = (below / softness).exp() * usable
            total = weight.sum(dim=1, keepdim=True).clamp(min=1e-9)
            parts.append((weight.unsqueeze(-1) * place).sum(dim=1) / total)
        share = heard.float().mean(dim=1, keepdim=True)
        rest = len(FEATURES) - 2 * len(_SOFTNESS_DB) - 1
        return torch.cat([*parts, share, share.new_zeros(share.shape[0], rest)], dim=1)


def subtract_emission_time(toa: Tensor, there: Tensor) -> Tensor:
    """[B, R] less the sample's mean, 0 where absent: only differences inform."""
    filled = torch.where(there, toa, torch.zeros_like(toa))
    mean = filled.sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
    return (filled - mean) * there
