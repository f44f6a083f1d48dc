"""Measured data: three tables in a folder or a zip become a dataset, or nothing does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.localization.config import ImportConfig
from training.localization.data import splits
from training.localization.data.dataset import SPLITS, Dataset, Receiver
from training.localization.geometry import Floats, LocalFrame
from training.localization.importing import zip_archive
from training.localization.importing.csv_tables import DatasetImportError, InvalidRowError, table
from training.localization.importing.rows import (
    MEASUREMENTS,
    RECEIVERS,
    SAMPLES,
    Cell,
    MeasurementRows,
    SampleRows,
    read_receivers,
)

__all__ = ["DatasetImportError", "InvalidRowError", "read_folder", "read_zip"]

_COLUMNS = (
    ("sample_id", "receiver_id"),
    ("rssi_dbm", "snr_db", "toa_ns", "frequency_offset_hz", "rx_lat", "rx_lon", "rx_alt_m"),
)
_AS_IT_COMES = ImportConfig()
_WIDEST_M = 500_000.0  # the plane on which positions are computed is true within this


def read_zip(
    path: Path, workspace: Path, max_bytes: int, config: ImportConfig = _AS_IT_COMES
) -> Dataset:
    """`read_folder` of a zip, unpacked into the empty folder `workspace`."""
    return read_folder(zip_archive.unpack(path, workspace, max_bytes), max_bytes, config)


def read_folder(
    folder: Path, max_bytes: float = math.inf, config: ImportConfig = _AS_IT_COMES
) -> Dataset:
    """Read receivers, samples and measurements; raise DatasetImportError if any is wrong.

    No table may be larger than `max_bytes` once unpacked. `config` says how the split is made.
    """
    with table(
        folder, RECEIVERS, ("receiver_id", "lat", "lon", "alt_m"), max_bytes=max_bytes
    ) as rows:
        receivers = read_receivers(rows)
    by_column = config.split_by == "column"
    samples = SampleRows(
        column=config.split_column if by_column else "group", heed_split=config.split_by == "auto"
    )
    with table(
        folder, SAMPLES, ("sample_id", "lat", "lon"), more_allowed=True, max_bytes=max_bytes
    ) as rows:
        for row in rows:
            samples.add(row)
    if not samples.index:
        raise DatasetImportError(f"{SAMPLES} has no sample")
    measurements = MeasurementRows(samples.index, receivers)
    with table(folder, MEASUREMENTS, *_COLUMNS, max_bytes=max_bytes) as rows:
        for row in rows:
            measurements.add(row)
    if by_column and not samples.group:
        raise DatasetImportError(f"{SAMPLES} has no column {config.split_column!r} to split by")
    return _assemble(list(receivers.values()), samples, measurements, config)


def _assemble(
    receivers: list[Receiver], samples: SampleRows, heard: MeasurementRows, config: ImportConfig
) -> Dataset:
    lat, lon = np.array(samples.places).T
    frame = LocalFrame.centered_on(lat, lon, _ground(receivers, heard))
    _check_extent(frame, SAMPLES, list(samples.index), lat, lon)
    target = frame.to_local(lat, lon)
    group, split_by = _groups(samples, target, config)
    shape = len(samples.index), len(receivers)
    rssi, snr = _dense(shape, heard.readings, 2)
    (toa,) = _dense(shape, _since_first(heard.arrivals), 1)
    return Dataset(
        receivers=tuple(receivers),
        frame=frame,
        kind="measured",
        target=target.astype(np.float32),
        rssi=rssi,
        snr=snr,
        toa=toa,
        rx=_receiver_places(frame, receivers, heard, shape),
        in_service=_in_service(receivers, heard, shape),
        split=_sides(samples, group, config.split_seed),
        group=group,
        sample_ids=tuple(samples.index),
        split_by=split_by,
    )


def _groups(
    samples: SampleRows, target: Floats, config: ImportConfig
) -> tuple[NDArray[np.int32], str]:
    """What stays on one side, and in words how the split is made."""
    alone = np.arange(len(target), dtype=np.int32)
    if config.split_by == "random":
        return alone, splits.AT_RANDOM
    if config.split_by == "place" or not (samples.group or samples.sides):
        return splits.blocks(target), splits.BY_PLACE
    group = np.array(samples.group, np.int32) if samples.group else alone
    return group, splits.GIVEN if samples.sides else splits.by_column(samples.column)


def _sides(samples: SampleRows, group: NDArray[np.int32], seed: int) -> NDArray[np.int8]:
    sides = (
        np.array(samples.sides, np.int8) if samples.sides else splits.split_by_group(group, seed)
    )
    for code, name in enumerate(SPLITS):
        if code not in sides:
            raise DatasetImportError(
                f"{SAMPLES}: no sample is left for {name!r}; each of {', '.join(SPLITS)} needs some"
                + ("" if samples.sides else ", so give at least three groups, or a split column")
            )
    return sides


def _dense(
    shape: tuple[int, int], cells: Mapping[Cell, tuple[float, ...]], width: int
) -> NDArray[np.float32]:
    """[width, N, R], NaN where nothing was given."""
    dense = np.full((*shape, width), np.nan, np.float32)
    if cells:
        dense[tuple(np.array(list(cells)).T)] = np.array(list(cells.values()))
    return np.ascontiguousarray(np.moveaxis(dense, -1, 0))


def _since_first(arrivals: dict[Cell, Decimal]) -> dict[Cell, tuple[float]]:
    """Nanoseconds since the sample's first arrival, so that 32 bits hold them."""
    first: dict[int, Decimal] = {}
    for (sample, _), arrival in arrivals.items():
        first[sample] = min(arrival, first.get(sample, arrival))
    return {cell: (float(arrival - first[cell[0]]),) for cell, arrival in arrivals.items()}


def _receiver_places(
    frame: LocalFrame, receivers: list[Receiver], heard: MeasurementRows, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """[N, R, 3]: where the row says, else where the receiver stands, else NaN."""
    names = [receiver.id for receiver in receivers]
    fixed = np.array([(one.lat, one.lon, one.alt_m) for one in receivers], float)
    still = np.broadcast_to(_local(frame, RECEIVERS, names, fixed), (*shape, 3))
    if not heard.places:
        return still
    rx = still.copy()
    carriers = [names[receiver] for _, receiver in heard.places]
    moved = np.array(list(heard.places.values()))
    rx[tuple(np.array(list(heard.places)).T)] = _local(frame, MEASUREMENTS, carriers, moved)
    return rx


def _local(frame: LocalFrame, file: str, names: list[str], place: Floats) -> NDArray[np.float32]:
    """[P, 3] degrees and metres to the frame's places; NaN stays NaN."""
    lat, lon, alt = place.T
    _check_extent(frame, file, names, lat, lon)
    return frame.to_local_3d(lat, lon, alt).astype(np.float32)


def _ground(receivers: list[Receiver], heard: MeasurementRows) -> float:
    """Metres above the sea on which transmitters are taken to stand: the median receiver's.

    Their height is not measured. The sea would put a city on a plateau a kilometre and a half
    below its receivers; the median also stands it that a single altitude is wrong.
    """
    fixed = [one.alt_m for one in receivers if one.alt_m is not None]
    moved = [alt for _, _, alt in heard.places.values() if not math.isnan(alt)]
    return float(np.median(fixed or moved or [0.0]))


def _check_extent(frame: LocalFrame, file: str, names: list[str], lat: Floats, lon: Floats) -> None:
    away = np.nan_to_num(frame.distance_from_origin(lat, lon))
    if away.max() > _WIDEST_M:
        raise DatasetImportError(
            f"{file}: {names[int(away.argmax())]!r} lies {away.max() / 1000:,.0f} km from the "
            f"middle of the samples, at most {_WIDEST_M / 1000:.0f} is possible; "
            "are lat and lon swapped?"
        )


def _in_service(
    receivers: list[Receiver], heard: MeasurementRows, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """One that stands still was silent where it has no row, known place or not; nobody knows what
    one that moves did."""
    movers = {receiver for _, receiver in heard.places}
    stands = [one.fixed or column not in movers for column, one in enumerate(receivers)]
    in_service = np.broadcast_to(stands, shape).copy()
    if heard.readings:
        in_service[tuple(np.array(list(heard.readings)).T)] = True
    return in_service
