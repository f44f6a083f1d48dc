"""Made-up transmissions that obey the physics: the same seed gives the same dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.engine.config import GenerateConfig
from training.engine.dataset import Dataset, Receiver
from training.engine.geometry import Floats, LocalFrame, distances
from training.engine.propagation import arrival_ns, received_dbm
from training.engine.split import blocks, by_group

# Each chunk draws from a generator of its own, so memory stays bounded and progress can be told.
CHUNK = 10_000

Told = Callable[[int, int, str], None]


def generate(config: GenerateConfig, told: Told = lambda current, total, message: None) -> Dataset:
    """Transmitters uniform over the receivers' bounding box and its margin; all as `config` says.

    `told(current, total, message)` is called after each chunk and may raise to stop.
    """
    receivers = tuple(
        Receiver(spec.name, spec.lat, spec.lon, spec.alt_m) for spec in config.receivers
    )
    lat, lon = ([getattr(spec, name) for spec in config.receivers] for name in ("lat", "lon"))
    frame = LocalFrame(float(np.mean(lat)), float(np.mean(lon)))
    place = np.column_stack([frame.to_local(lat, lon), [spec.alt_m for spec in config.receivers]])
    parts = []
    for index, start in enumerate(range(0, config.samples, CHUNK)):
        count = min(CHUNK, config.samples - start)
        parts.append(_chunk(config, place, count, np.random.default_rng([config.seed, index])))
        told(start + count, config.samples, f"{start + count:,} samples made")
    target, rssi, snr, toa = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    group = blocks(target)
    shape = rssi.shape
    return Dataset(
        receivers=receivers,
        frame=frame,
        kind="synthetic",
        target=target,
        rssi=rssi,
        snr=snr,
        toa=toa,
        rx=np.broadcast_to(place.astype(np.float32), (*shape, 3)),
        in_service=np.ones(shape, bool),
        split=by_group(group, config.seed),
        group=group,
        physics=config.model_dump(mode="json", exclude={"receivers"}),
    )


def _chunk(
    config: GenerateConfig, place: Floats, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], ...]:
    """target [n, 2], rssi, snr and toa [n, R]."""
    margin = config.margin_km * 1000
    low, high = place[:, :2].min(axis=0) - margin, place[:, :2].max(axis=0) + margin
    target = rng.uniform(low, high, (count, 2))
    away = distances(target, place)
    mean = received_dbm(away, config.transmit_dbm, config.frequency_mhz, config.path_loss_exponent)
    rssi = mean + rng.normal(0, config.shadowing_db, away.shape)
    snr = rssi - config.noise_floor_dbm
    silent = snr < config.detection_snr_db
    # Nobody knows when it was sent: only differences of arrival times inform.
    sent = rng.uniform(0, 1e6, (count, 1))
    error = rng.normal(0, config.timing_sigma_ns or 0, away.shape)
    toa = sent + arrival_ns(away) + error
    if config.timing_sigma_ns is None:
        toa = np.full_like(toa, np.nan)
    heard = (np.where(silent, np.nan, signal).astype(np.float32) for signal in (rssi, snr, toa))
    return target.astype(np.float32), *heard
