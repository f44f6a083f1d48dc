"""Made-up transmissions that obey the physics: the same seed gives the same dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from training.engine.area import WidenedHull
from training.engine.config import GenerateConfig
from training.engine.dataset import Dataset, Receiver
from training.engine.geometry import Floats, LocalFrame, distances
from training.engine.propagation import arrival_ns, received_dbm
from training.engine.split import blocks, by_group

Progress = Callable[[int, int, str], None]

_CHUNKS = 20  # so progress can be told
_CHUNK_READINGS = 1_000_000  # so memory stays bounded
_LONGEST_DELAY_NS = 1e6


def generate(config: GenerateConfig, progress: Progress | None = None) -> Dataset:
    """Transmitters uniform over the receivers' hull and its margin, heard as `config` says.

    `progress(current, total, message)` is called after each chunk, and may raise to stop.
    """
    readings_each = len(config.receivers)
    chunk = max(1, min(config.samples // _CHUNKS, _CHUNK_READINGS // readings_each))
    frame, rx = _stations(config)
    world = _World(config, rx)
    target = np.empty((config.samples, 2), np.float32)
    rssi, snr, toa = np.empty((3, config.samples, readings_each), np.float32)
    for rows in _slices(config.samples, chunk):
        target[rows], rssi[rows], snr[rows], toa[rows] = world.transmissions(len(target[rows]))
        if progress:
            progress(rows.stop, config.samples, f"{rows.stop:,} of {config.samples:,} samples")
    group = blocks(target)
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
        split=by_group(group, config.seed),
        group=group,
        physics=config.model_dump(mode="json", exclude={"receivers"}),
    )


class _World:
    """Draws transmissions one after the other, however many are asked for at a time.

    Each quantity has a stream of random numbers of its own: so the size of a chunk changes nothing,
    and a longer dataset begins with the shorter one.
    """

    def __init__(self, config: GenerateConfig, rx: Floats) -> None:
        self._config, self._rx = config, rx
        self._area = WidenedHull(rx[:, :2], config.margin_km * 1000)
        seeds = np.random.SeedSequence(config.seed).spawn(4)
        self._place, self._shadow, self._sent, self._clock = map(np.random.default_rng, seeds)

    def transmissions(self, count: int) -> tuple[NDArray[np.float32], ...]:
        """target [n, 2], and rssi, snr, toa [n, R]: NaN where too weak to be heard."""
        config = self._config
        target = self._area.places(self._place.random((count, 3)))
        away = distances(target, self._rx)
        mean = received_dbm(
            away, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent
        )
        rssi = mean + config.shadowing_db * self._shadow.standard_normal(away.shape)
        snr = rssi - config.noise_floor_dbm
        heard = snr >= config.detection_snr_db
        signals = [rssi, snr, self._arrivals(away)]
        return (
            target.astype(np.float32),
            *(np.where(heard, signal, np.nan).astype(np.float32) for signal in signals),
        )

    def _arrivals(self, away: Floats) -> Floats:
        """[n, R] ns; nobody knows when it was sent, so only differences inform."""
        if self._config.timing_sigma_ns is None:
            return np.full_like(away, np.nan)
        sent = _LONGEST_DELAY_NS * self._sent.random((len(away), 1))
        noise = self._config.timing_sigma_ns * self._clock.standard_normal(away.shape)
        return np.asarray(sent + arrival_ns(away) + noise)


def _stations(config: GenerateConfig) -> tuple[LocalFrame, Floats]:
    """The plane around the receivers, and their places [R, 3] in it."""
    lat, lon, alt = np.array([(spec.lat, spec.lon, spec.alt_m) for spec in config.receivers]).T
    frame = LocalFrame.around(lat, lon)
    return frame, np.column_stack([frame.to_local(lat, lon), alt])


def _slices(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
