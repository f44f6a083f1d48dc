"""Generate synthetic datasets: simulated transmissions, reproducible from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset, Receiver
from training.localization.data.splits import (
    BY_PLACE,
    INDEPENDENT,
    grid_squares,
    split_by_group,
    split_randomly,
)
from training.localization.geometry import Floats, LocalFrame, distances
from training.localization.synthetic.area import BufferedConvexHull
from training.localization.synthetic.propagation import received_power_dbm, time_of_flight_ns
from training.localization.synthetic.shadowing import ShadowMap

Progress = Callable[[int, int, str], None]
"""Called with samples so far, total and a message; may raise to stop."""

BLOCK = 256  # samples drawn from one random stream
_CHUNKS = 20  # progress reports per dataset
_MAX_CHUNK_READINGS = 1_000_000  # bounds memory
_MAX_EMISSION_DELAY_NS = 1e6


def generate_dataset(config: GenerateConfig, progress: Progress | None = None) -> Dataset:
    chunks = []
    for chunk in generate_chunks(config):
        chunks.append(chunk)
        if progress:
            progress(*progress_report(sum(map(len, chunks)), config.samples))
    return build_dataset(config, np.concatenate(chunks))


def progress_report(current: int, total: int) -> tuple[int, int, str]:
    return current, total, f"{current:,} of {total:,} samples"


def generate_chunks(config: GenerateConfig, start: int = 0) -> Iterator[NDArray[np.float32]]:
    """Chunks [n, 2 + 3 R] of target, rssi, snr, toa; `start` is a multiple of BLOCK."""
    receivers = len(config.receivers)
    size = min(config.samples // _CHUNKS, _MAX_CHUNK_READINGS // receivers)
    size = max(size // BLOCK, 1) * BLOCK
    sampler = ScenarioSampler(config)
    for first in range(start, config.samples, size):
        yield sampler.sample(first, min(first + size, config.samples))


def build_dataset(config: GenerateConfig, readings: NDArray[np.float32]) -> Dataset:
    """Build the dataset of all chunks [N, 2 + 3 R] and split it.

    The split is by place if neighbors share their shadowing. Otherwise it is random: a sample has
    no information about the noise of its neighbors, and holding out whole squares would only hide
    parts of the area from the training.
    """
    frame, rx = _receiver_positions(config)
    target = readings[:, :2].copy()
    rssi, snr, toa = (part.copy() for part in np.split(readings[:, 2:], 3, axis=1))
    independent = config.shadowing_reach_km is None
    group = np.arange(len(target), dtype=np.int32) if independent else grid_squares(target)
    return Dataset(
        receivers=tuple(
            Receiver(spec.name, spec.lat, spec.lon, spec.alt_m) for spec in config.receivers
        ),
        frame=frame,
        kind="synthetic",
        target=target,
        rssi=rssi,
        snr=snr,
        toa=toa,
        rx=np.broadcast_to(rx.astype(np.float32), (*rssi.shape, 3)),
        in_service=np.ones(rssi.shape, bool),
        split=split_randomly(len(group), config.seed)
        if independent
        else split_by_group(group, config.seed),
        group=group,
        split_by=INDEPENDENT if independent else BY_PLACE,
        physics=config.physics(),
    )


class ScenarioSampler:
    """Draws any range of samples; each block of samples has its own random stream.

    So the chunk size does not change the numbers, a longer dataset starts with the shorter one of
    the same seed, and a generation can resume.
    """

    def __init__(self, config: GenerateConfig) -> None:
        self._config = config
        _, self._rx = _receiver_positions(config)
        self._area = BufferedConvexHull(self._rx[:, :2], config.margin_km * 1000)
        self._shadow_map = None
        if config.shadowing_reach_km is not None:
            rng = np.random.default_rng([config.seed, 0])
            self._shadow_map = ShadowMap(rng, len(self._rx), config.shadowing_reach_km * 1000)

    def sample(self, first: int, end: int) -> NDArray[np.float32]:
        """Samples `first` to `end` (exclusive), [n, 2 + 3 R]; NaN below the detection threshold.

        `first` is a multiple of BLOCK.
        """
        config, receivers = self._config, len(self._rx)
        uniform, shadowing, clock_noise = self._random_numbers(first, end)
        target = self._area.sample(uniform[:, :3])
        if self._shadow_map is not None:
            shadowing = self._shadow_map.values_at(target)
        distance = distances(target, self._rx)
        mean = received_power_dbm(
            distance, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent
        )
        rssi = mean + config.shadowing_db * shadowing
        snr = rssi - config.noise_floor_dbm
        toa = self._arrival_times(distance, uniform[:, 3:], clock_noise)
        readings = np.empty((len(target), 2 + 3 * receivers), np.float32)
        readings[:, :2] = target
        readings[:, 2:] = np.hstack([rssi, snr, toa])
        undetected = snr < config.detection_snr_db
        readings[:, 2:][np.tile(undetected, 3)] = np.nan
        return readings

    def _random_numbers(self, first: int, end: int) -> tuple[Floats, Floats, Floats]:
        """Uniform [n, 4] and normal [n, R] twice; always draws whole blocks."""
        receivers, parts = len(self._rx), []
        for block in range(first // BLOCK, -(-end // BLOCK)):
            rng = np.random.default_rng([self._config.seed, 1, block])
            parts.append((rng.random((BLOCK, 4)), rng.standard_normal((BLOCK, 2 * receivers))))
        uniform, normal = (np.concatenate(kind)[: end - first] for kind in zip(*parts, strict=True))
        return uniform, normal[:, :receivers], normal[:, receivers:]

    def _arrival_times(self, distance: Floats, emission: Floats, clock_noise: Floats) -> Floats:
        # [n, R] ns, from an emission time that the receivers do not know.
        if self._config.timing_sigma_ns is None:
            return np.full_like(distance, np.nan)
        noise = self._config.timing_sigma_ns * clock_noise
        return np.asarray(_MAX_EMISSION_DELAY_NS * emission + time_of_flight_ns(distance) + noise)


def _receiver_positions(config: GenerateConfig) -> tuple[LocalFrame, Floats]:
    lat, lon, alt = np.array([(spec.lat, spec.lon, spec.alt_m) for spec in config.receivers]).T
    frame = LocalFrame.centered_on(lat, lon)
    return frame, frame.to_local_3d(lat, lon, alt)
