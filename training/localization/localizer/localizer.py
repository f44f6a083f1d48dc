"""The complete model: signals to calibrated Gaussians in meters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.localization.data.dataset import Dataset
from training.localization.geometry import SPEED_OF_LIGHT, Floats
from training.localization.localizer.features import Encoder, Signals
from training.localization.localizer.networks import Ensemble, pool_gaussians
from training.localization.localizer.normalizer import Normalizer
from training.localization.localizer.portfolio import NETWORK, Portfolio
from training.localization.localizer.tdoa_refinement import Area, Arrivals, refine_positions
from training.localization.metrics import Predictions

BATCH = 1024  # samples, to fit the processor's cache
# Positions are sought within this many times the RMS distance of the training samples' center.
_AREA_UNITS = 10.0
_MIN_VARIANCE_M2 = 1e-4  # added to variances, so that rounding cannot make a covariance singular


class Localizer(nn.Module):
    """Encoder, ensemble, refinement with arrival times (if `refined`), portfolio and calibration.

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
        portfolio: Portfolio | None = None,
    ) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.encoder = Encoder(normalizer)
        self.ensemble = ensemble
        self.meters_per_unit = normalizer.meters_per_unit
        self.temperature, self.stretch_95 = temperature, stretch_95
        self.portfolio = portfolio
        clock = normalizer.clock_offsets
        self.refined = refined and clock.sigma_m is not None
        self.register_buffer("center", torch.tensor(normalizer.center).double())
        self.register_buffer("clock_offset", torch.tensor(clock.offset_m).double())
        self.register_buffer("clock_sigma", torch.tensor(clock.sigma_m or 1.0).double())

    def forward(
        self, rssi: Tensor, snr: Tensor, toa: Tensor, rx: Tensor, in_service: Tensor
    ) -> tuple[Tensor, Tensor]:
        signals = Signals(rssi, snr, toa, rx, in_service)
        mean, covariance = self.locate_by_network(signals)
        if self.portfolio is not None:
            mean, covariance = self.portfolio(mean, covariance, signals, self.refine)
        return mean, covariance * self.temperature

    def locate_by_network(self, signals: Signals) -> tuple[Tensor, Tensor]:
        """The network and the refinement, without the other members and without calibration."""
        mean, covariance = self.to_meters(*self.ensemble(*self.encoder(signals)))
        if self.refined:
            mean, covariance = self.refine(mean, covariance, signals)
        return mean, covariance

    def to_meters(self, means: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
        """Pool the Gaussians of the members [K, B, ...], and convert from units to meters."""
        mean, covariance = pool_gaussians(means.double(), factors.double())
        regularization = _MIN_VARIANCE_M2 * torch.eye(2, dtype=torch.float64, device=mean.device)
        return (
            mean * self.meters_per_unit + self.center,
            covariance * self.meters_per_unit**2 + regularization,
        )

    def refine(
        self, mean: Tensor, covariance: Tensor, signals: Signals, starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        area = Area(self.center, _AREA_UNITS * self.meters_per_unit)
        arrivals = self.arrivals(signals)
        return refine_positions(mean, covariance, arrivals, self.clock_sigma, area, starts)

    def arrivals(self, signals: Signals) -> Arrivals:
        valid = ~signals.toa.isnan() & ~signals.rx[..., 0].isnan()
        pseudorange = signals.toa.double() * (1e-9 * SPEED_OF_LIGHT) - self.clock_offset
        return Arrivals(
            torch.where(valid, pseudorange, torch.zeros_like(pseudorange)),
            signals.rx.double().nan_to_num(),
            valid,
        )


@torch.no_grad()
def predict_split(localizer: Localizer, dataset: Dataset, rows: NDArray[np.intp]) -> Predictions:
    localizer.eval()
    means, covariances = [], []
    for signals in _batches(localizer, dataset, rows):
        mean, covariance = localizer(*signals)
        means.append(mean.cpu().numpy())
        covariances.append(covariance.cpu().numpy())
    return Predictions(np.concatenate(means), np.concatenate(covariances))


@torch.no_grad()
def locate_by_members(
    localizer: Localizer, dataset: Dataset, rows: NDArray[np.intp]
) -> dict[str, Floats]:
    """Positions [n, 2] of each member alone, also of those without weight."""
    localizer.eval()
    portfolio = localizer.portfolio
    if portfolio is None:
        return {}
    parts: dict[str, list[Floats]] = {NETWORK: [], **{name: [] for name in portfolio.members}}
    for signals in _batches(localizer, dataset, rows):
        for name, positions in parts.items():
            located = (
                localizer.locate_by_network(signals)[0]
                if name == NETWORK
                else portfolio.locate(name, signals, localizer.refine)[0]
            )
            positions.append(located.cpu().numpy())
    return {name: np.concatenate(positions) for name, positions in parts.items()}


def _batches(localizer: Localizer, dataset: Dataset, rows: NDArray[np.intp]) -> Iterator[Signals]:
    # At least one, which may be empty.
    for start in range(0, max(len(rows), 1), BATCH):
        signals = Signals.from_dataset(dataset, rows[start : start + BATCH])
        yield Signals(*(signal.to(localizer.center.device) for signal in signals))
