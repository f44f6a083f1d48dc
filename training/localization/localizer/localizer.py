"""The complete model: signals to calibrated Gaussians in meters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.localization.data.dataset import Dataset
from training.localization.geometry import SPEED_OF_LIGHT
from training.localization.localizer.features import Encoder, Signals
from training.localization.localizer.networks import Ensemble, pool_gaussians
from training.localization.localizer.normalizer import Normalizer
from training.localization.localizer.tdoa_refinement import Area, Arrivals, refine_positions
from training.localization.metrics import Predictions

BATCH = 1024  # samples, to fit the processor's cache
# Positions are sought within this many times the RMS distance of the training samples' center.
_AREA_UNITS = 10.0
_MIN_VARIANCE_M2 = 1e-4  # added to variances, so that rounding cannot make a covariance singular


class Localizer(nn.Module):
    """Encoder, ensemble, refinement with arrival times (if `refined`) and calibration.

    Signals (see `features.Signals`) to mean f64 [B, 2] in meters of the dataset's frame, and
    covariance f64 [B, 2, 2]. `temperature` scales the covariance so that 68 % ellipses cover 68 %;
    `stretch_95` is a further factor for 95 % ellipses, since errors have longer tails than a
    Gaussian.
    """

    center: Tensor
    clock_offset: Tensor
    clock_sigma: Tensor

    def __init__(
        self,
        ensemble: Ensemble,
        normalizer: Normalizer,
        refined: bool = False,
        temperature: float = 1.0,
        stretch_95: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(normalizer)
        self.ensemble = ensemble
        self.meters_per_unit = normalizer.meters_per_unit
        self.temperature, self.stretch_95 = temperature, stretch_95
        clock = normalizer.clock_offsets
        self.refined = refined and clock.sigma_m is not None
        self.register_buffer("center", torch.tensor(normalizer.center).double())
        self.register_buffer("clock_offset", torch.tensor(clock.offset_m).double())
        self.register_buffer("clock_sigma", torch.tensor(clock.sigma_m or 1.0).double())

    def forward(
        self, rssi: Tensor, snr: Tensor, toa: Tensor, rx: Tensor, in_service: Tensor
    ) -> tuple[Tensor, Tensor]:
        signals = Signals(rssi, snr, toa, rx, in_service)
        mean, covariance = self.to_meters(*self.ensemble(*self.encoder(signals)))
        if self.refined:
            mean, covariance = self.refine(mean, covariance, signals)
        return mean, covariance * self.temperature

    def to_meters(self, means: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
        """Pool the Gaussians of the members [K, B, ...], and convert from units to meters."""
        mean, covariance = pool_gaussians(means.double(), factors.double())
        regularization = _MIN_VARIANCE_M2 * torch.eye(2, dtype=torch.float64, device=mean.device)
        return (
            mean * self.meters_per_unit + self.center,
            covariance * self.meters_per_unit**2 + regularization,
        )

    def refine(self, mean: Tensor, covariance: Tensor, signals: Signals) -> tuple[Tensor, Tensor]:
        valid = ~signals.toa.isnan() & ~signals.rx[..., 0].isnan()
        pseudorange = signals.toa.double() * (1e-9 * SPEED_OF_LIGHT) - self.clock_offset
        arrivals = Arrivals(
            torch.where(valid, pseudorange, torch.zeros_like(pseudorange)),
            signals.rx.double().nan_to_num(),
            valid,
        )
        area = Area(self.center, _AREA_UNITS * self.meters_per_unit)
        return refine_positions(mean, covariance, arrivals, self.clock_sigma, area)


@torch.no_grad()
def predict_split(localizer: Localizer, dataset: Dataset, rows: NDArray[np.intp]) -> Predictions:
    localizer.eval()
    device = localizer.center.device
    means, covariances = [], []
    for batch in _batches(rows):
        signals = Signals.from_dataset(dataset, batch)
        mean, covariance = localizer(*(signal.to(device) for signal in signals))
        means.append(mean.cpu().numpy())
        covariances.append(covariance.cpu().numpy())
    return Predictions(np.concatenate(means), np.concatenate(covariances))


def _batches(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    # At least one, which may be empty.
    for start in range(0, max(len(rows), 1), BATCH):
        yield rows[start : start + BATCH]
