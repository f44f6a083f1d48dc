"""Made-up transmissions that obey the physics: the same seed gives the same dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset, Receiver
from training.localization.data.splits import (
    BY_PLACE,
    INDEPENDENT,
    blocks,
    split_by_group,
    split_randomly,
)
from training.localization.geometry import Floats, LocalFrame, distances
from training.localization.synthetic.area import BufferedConvexHull
from training.localization.synthetic.propagation import received_power_dbm, time_of_flight_ns
from training.localization.synthetic.shadowing import ShadowMap

Progress = Callable[[int, int, str], None]

BLOCK = 256  # samples that share their streams of random numbers
_CHUNKS = 20  # so progress can be told
_CHUNK_READINGS = 1_000_000  # so memory stays bounded
_LONGEST_DELAY_NS = 1e6


def generate_dataset(config: GenerateConfig, progress: Progress | None = None) -> Dataset:
    """Transmitters uniform over the receivers' hull and its margin, heard as `config` says.

    `progress(current, total, message)` is called after each chunk, and may raise to stop.
    """
    drawn = []
    for chunk in transmissions(config):
        drawn.append(chunk)
        if progress:
            progress(*report_progress(sum(map(len, drawn)), config.samples))
    return assemble(config, np.concatenate(drawn))


def report_progress(current: int, total: int) -> tuple[int, int, str]:
    """How far it is, as numbers and in words."""
    return current, total, f"{current:,} of {total:,} samples"


def transmissions(config: GenerateConfig, start: int = 0) -> Iterator[NDArray[np.float32]]:
    """Chunks [n, 2 + 3 R] of target, rssi, snr, toa, from sample `start` (a whole BLOCK) on."""
    receivers = len(config.receivers)
    chunk = min(config.samples // _CHUNKS, _CHUNK_READINGS // receivers)
    chunk = max(chunk // BLOCK, 1) * BLOCK
    world = ScenarioSampler(config)
    for first in range(start, config.samples, chunk):
        yield world.transmissions(first, min(first + chunk, config.samples))


def assemble(config: GenerateConfig, drawn: NDArray[np.float32]) -> Dataset:
    """All that `transmissions` gave, with its split: a dataset.

    By place where neighbours share their shadowing. Else a sample tells nothing of its neighbour's
    noise, and squares held out would only hide from the training that senders stand there, too.
    """
    frame, rx = _stations(config)
    target = drawn[:, :2].copy()
    rssi, snr, toa = (part.copy() for part in np.split(drawn[:, 2:], 3, axis=1))
    alone = config.shadowing_reach_km is None
    group = np.arange(len(target), dtype=np.int32) if alone else blocks(target)
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
        if alone
        else split_by_group(group, config.seed),
        group=group,
        split_by=INDEPENDENT if alone else BY_PLACE,
        physics=config.model_dump(mode="json", exclude={"receivers"}),
    )


class ScenarioSampler:
    """Draws any stretch of the transmissions: block after block, each with a seed of its own.

    So the size of a chunk changes nothing, a longer dataset begins with the shorter one, and a
    generation goes on where it stopped.
    """

    def __init__(self, config: GenerateConfig) -> None:
        self._config = config
        _, self._rx = _stations(config)
        self._area = BufferedConvexHull(self._rx[:, :2], config.margin_km * 1000)
        self._map = None
        if config.shadowing_reach_km is not None:
            rng = np.random.default_rng([config.seed, 0])
            self._map = ShadowMap(rng, len(self._rx), config.shadowing_reach_km * 1000)

    def transmissions(self, first: int, after: int) -> NDArray[np.float32]:
        """[n, 2 + 3 R]; NaN where too weak to be heard."""
        config, receivers = self._config, len(self._rx)
        uniform, shadow, clock = self._random_numbers(first, after)
        target = self._area.places(uniform[:, :3])
        away = distances(target, self._rx)
        mean = received_power_dbm(
            away, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent
        )
        rssi = mean + config.shadowing_db * (shadow if self._map is None else self._map.at(target))
        snr = rssi - config.noise_floor_dbm
        toa = self._arrivals(away, uniform[:, 3:], clock)
        drawn = np.empty((len(target), 2 + 3 * receivers), np.float32)
        drawn[:, :2] = target
        drawn[:, 2:] = np.hstack([rssi, snr, toa])
        weak = snr < config.detection_snr_db
        drawn[:, 2:][np.tile(weak, 3)] = np.nan
        return drawn

    def _random_numbers(self, first: int, after: int) -> tuple[Floats, Floats, Floats]:
        """Uniform [n, 4], and normal [n, R] twice; whole blocks are drawn, however few are left."""
        receivers, parts = len(self._rx), []
        for block in range(first // BLOCK, -(-after // BLOCK)):
            rng = np.random.default_rng([self._config.seed, 1, block])
            parts.append((rng.random((BLOCK, 4)), rng.standard_normal((BLOCK, 2 * receivers))))
        uniform, normal = (
            np.concatenate(kind)[: after - first] for kind in zip(*parts, strict=True)
        )
        return uniform, normal[:, :receivers], normal[:, receivers:]

    def _arrivals(self, away: Floats, sent: Floats, clock: Floats) -> Floats:
        """[n, R] ns; nobody knows when it was sent, so only differences inform."""
        if self._config.timing_sigma_ns is None:
            return np.full_like(away, np.nan)
        noise = self._config.timing_sigma_ns * clock
        return np.asarray(_LONGEST_DELAY_NS * sent + time_of_flight_ns(away) + noise)


def _stations(config: GenerateConfig) -> tuple[LocalFrame, Floats]:
    """The plane around the receivers, and their places [R, 3] in it."""
    lat, lon, alt = np.array([(spec.lat, spec.lon, spec.alt_m) for spec in config.receivers]).T
    frame = LocalFrame.centered_on(lat, lon)
    return frame, frame.to_local_3d(lat, lon, alt)
