"""A trained model as it is used: signals in, a Gaussian in metres out, in one module."""

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
from training.localization.localizer.tdoa_refinement import Arrivals, refine_positions
from training.localization.metrics import Predictions

BATCH = 1024  # samples: what a processor's cache holds
_SMALLEST_M2 = 1e-4  # added to variances, so that no rounding makes one singular


class Localizer(nn.Module):
    """Encoder, network, Gauss-Newton where `refined`, and calibration.

    Signals (see `features.Signals`) to mean f64 [B, 2] in metres of the dataset's frame, and
    covariance f64 [B, 2, 2].
    """

    centre: Tensor
    offset: Tensor
    sigma: Tensor

    def __init__(
        self,
        locator: Ensemble,
        normalizer: Normalizer,
        refined: bool = False,
        temperature: float = 1.0,
        stretch_95: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(normalizer)
        self.locator = locator
        self.metres = normalizer.metres
        # Errors have longer tails than a Gaussian: the ellipse for 95 % has a factor of its own on
        # the covariance that holds for 68 %.
        self.temperature, self.stretch_95 = temperature, stretch_95
        self.timing = normalizer.timing
        self.refined = refined and self.timing.sigma_m is not None
        self.register_buffer("centre", torch.tensor(normalizer.centre).double())
        self.register_buffer("offset", torch.tensor(self.timing.offset_m).double())
        self.register_buffer("sigma", torch.tensor(self.timing.sigma_m or 1.0).double())

    def forward(
        self, rssi: Tensor, snr: Tensor, toa: Tensor, rx: Tensor, in_service: Tensor
    ) -> tuple[Tensor, Tensor]:
        signals = Signals(rssi, snr, toa, rx, in_service)
        mean, covariance = self.to_metres(*self.locator(*self.encoder(signals)))
        if self.refined:
            mean, covariance = self.sharpen(mean, covariance, signals)
        return mean, covariance * self.temperature

    def to_metres(self, means: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
        """What the members say [K, B, ...], in units, as one Gaussian."""
        mean, covariance = pool_gaussians(means.double(), factors.double())
        least = _SMALLEST_M2 * torch.eye(2, dtype=torch.float64, device=mean.device)
        return mean * self.metres + self.centre, covariance * self.metres**2 + least

    def sharpen(self, mean: Tensor, covariance: Tensor, signals: Signals) -> tuple[Tensor, Tensor]:
        """By the arrival times of receivers whose place is known."""
        used = ~signals.toa.isnan() & ~signals.rx[..., 0].isnan()
        range_m = signals.toa.double() * (1e-9 * SPEED_OF_LIGHT) - self.offset
        arrivals = Arrivals(
            torch.where(used, range_m, torch.zeros_like(range_m)),
            signals.rx.double().nan_to_num(),
            used,
        )
        return refine_positions(mean, covariance, arrivals, self.sigma)


@torch.no_grad()
def predict_split(answer: Localizer, dataset: Dataset, rows: NDArray[np.intp]) -> Predictions:
    """Of the samples `rows`, batch by batch."""
    answer.eval()
    device = answer.centre.device
    means, covariances = [], []
    for part in _parts(rows):
        mean, covariance = answer(*(one.to(device) for one in Signals.from_dataset(dataset, part)))
        means.append(mean.cpu().numpy())
        covariances.append(covariance.cpu().numpy())
    return Predictions(np.concatenate(means), np.concatenate(covariances))


def _parts(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, max(len(rows), 1), BATCH):
        yield rows[start : start + BATCH]
