"""Import measured data: three tables in a folder or zip become a dataset."""

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
from training.localization.importing.csv_tables import open_table
from training.localization.importing.rows import (
    MEASUREMENTS,
    RECEIVERS,
    SAMPLES,
    Cell,
    MeasurementRows,
    SampleRows,
    read_receivers,
)
from training.localization.importing.zip_archive import extract_tables
from training.programs.datasets import DatasetImportError

_RECEIVER_COLUMNS = ("receiver_id", "lat", "lon", "alt_m")
_SAMPLE_COLUMNS = ("sample_id", "lat", "lon")
_MEASUREMENT_COLUMNS = ("sample_id", "receiver_id")
_OPTIONAL_MEASUREMENT_COLUMNS = (
    "rssi_dbm", "snr_db", "toa_ns", "frequency_offset_hz", "rx_lat", "rx_lon", "rx_alt_m",
)  # fmt: skip
_DEFAULT_CONFIG = ImportConfig()
_MAX_EXTENT_M = 500_000.0  # positions are computed on a plane, which is accurate within this


def read_zip(
    path: Path, workspace: Path, max_bytes: int, config: ImportConfig = _DEFAULT_CONFIG
) -> Dataset:
    """`read_folder` of a zip, extracted to the empty folder `workspace`."""
    return read_folder(extract_tables(path, workspace, max_bytes), max_bytes, config)


def read_folder(
    folder: Path, max_bytes: float = math.inf, config: ImportConfig = _DEFAULT_CONFIG
) -> Dataset:
    """Read receivers, samples and measurements; raise DatasetImportError if any is invalid.

    `max_bytes` limits the uncompressed size of each table.
    """
    with open_table(folder, RECEIVERS, _RECEIVER_COLUMNS, max_bytes=max_bytes) as rows:
        receivers = read_receivers(rows)
    by_column = config.split_by == "column"
    samples = SampleRows(
        group_column=config.split_column if by_column else "group",
        use_split_column=config.split_by == "auto",
    )
    with open_table(
        folder, SAMPLES, _SAMPLE_COLUMNS, allow_other_columns=True, max_bytes=max_bytes
    ) as rows:
        for row in rows:
            samples.add(row)
    if not samples.index:
        raise DatasetImportError(f"{SAMPLES} has no rows")
    measurements = MeasurementRows(samples.index, receivers)
    with open_table(
        folder,
        MEASUREMENTS,
        _MEASUREMENT_COLUMNS,
        _OPTIONAL_MEASUREMENT_COLUMNS,
        max_bytes=max_bytes,
    ) as rows:
        for row in rows:
            measurements.add(row)
    if by_column and not samples.groups:
        raise DatasetImportError(f"{SAMPLES} has no column {config.split_column!r} to split by")
    return _build_dataset(list(receivers.values()), samples, measurements, config)


def _build_dataset(
    receivers: list[Receiver],
    samples: SampleRows,
    measurements: MeasurementRows,
    config: ImportConfig,
) -> Dataset:
    lat, lon = np.array(samples.positions).T
    frame = LocalFrame.centered_on(lat, lon, _ground_altitude(receivers, measurements))
    _check_extent(frame, SAMPLES, list(samples.index), lat, lon)
    target = frame.to_local(lat, lon)
    group, split_by = _assign_groups(samples, target, config)
    shape = len(samples.index), len(receivers)
    rssi, snr = _to_dense(shape, measurements.readings, 2)
    (toa,) = _to_dense(shape, _since_first_arrival(measurements.arrivals), 1)
    return Dataset(
        receivers=tuple(receivers),
        frame=frame,
        kind="measured",
        target=target.astype(np.float32),
        rssi=rssi,
        snr=snr,
        toa=toa,
        rx=_receiver_positions(frame, receivers, measurements, shape),
        in_service=_in_service(receivers, measurements, shape),
        split=_assign_splits(samples, group, config.split_seed),
        group=group,
        sample_ids=tuple(samples.index),
        split_by=split_by,
    )


def _assign_groups(
    samples: SampleRows, target: Floats, config: ImportConfig
) -> tuple[NDArray[np.int32], str]:
    singletons = np.arange(len(target), dtype=np.int32)
    if config.split_by == "random":
        return singletons, splits.AT_RANDOM
    if config.split_by == "place" or not (samples.groups or samples.splits):
        return splits.grid_squares(target), splits.BY_PLACE
    group = np.array(samples.groups, np.int32) if samples.groups else singletons
    return group, splits.GIVEN if samples.splits else splits.column_split(samples.group_column)


def _assign_splits(samples: SampleRows, group: NDArray[np.int32], seed: int) -> NDArray[np.int8]:
    if samples.splits:
        codes = np.array(samples.splits, np.int8)
    else:
        codes = splits.split_by_group(group, seed)
    for code, name in enumerate(SPLITS):
        if code not in codes:
            fix = "" if samples.splits else "; give at least three groups, or a split column"
            raise DatasetImportError(
                f"{SAMPLES}: no samples for {name!r}; each of {', '.join(SPLITS)} needs some{fix}"
            )
    return codes


def _to_dense(
    shape: tuple[int, int], cells: Mapping[Cell, tuple[float, ...]], width: int
) -> NDArray[np.float32]:
    """[width, N, R], NaN for cells that are not given."""
    dense = np.full((*shape, width), np.nan, np.float32)
    if cells:
        dense[tuple(np.array(list(cells)).T)] = np.array(list(cells.values()))
    return np.ascontiguousarray(np.moveaxis(dense, -1, 0))


def _since_first_arrival(arrivals: dict[Cell, Decimal]) -> dict[Cell, tuple[float]]:
    # Nanoseconds since the first arrival of the sample, small enough for float32.
    first: dict[int, Decimal] = {}
    for (sample, _), arrival in arrivals.items():
        first[sample] = min(arrival, first.get(sample, arrival))
    return {cell: (float(arrival - first[cell[0]]),) for cell, arrival in arrivals.items()}


def _receiver_positions(
    frame: LocalFrame,
    receivers: list[Receiver],
    measurements: MeasurementRows,
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """[N, R, 3]: from the measurement row if given, else from receivers.csv, else NaN."""
    names = [receiver.id for receiver in receivers]
    fixed = np.array([(one.lat, one.lon, one.alt_m) for one in receivers], float)
    constant = np.broadcast_to(_to_local(frame, RECEIVERS, names, fixed), (*shape, 3))
    if not measurements.positions:
        return constant
    rx = constant.copy()
    row_names = [names[receiver] for _, receiver in measurements.positions]
    positions = np.array(list(measurements.positions.values()))
    cells = tuple(np.array(list(measurements.positions)).T)
    rx[cells] = _to_local(frame, MEASUREMENTS, row_names, positions)
    return rx


def _to_local(
    frame: LocalFrame, file: str, names: list[str], positions: Floats
) -> NDArray[np.float32]:
    lat, lon, alt = positions.T
    _check_extent(frame, file, names, lat, lon)
    return frame.to_local_3d(lat, lon, alt).astype(np.float32)


def _ground_altitude(receivers: list[Receiver], measurements: MeasurementRows) -> float:
    """Assumed altitude of the transmitters: the median of the receivers, in metres.

    The height of transmitters is not measured. Sea level would put a city on a plateau a kilometre
    and a half below its receivers. The median tolerates a single wrong altitude.
    """
    fixed = [one.alt_m for one in receivers if one.alt_m is not None]
    mobile = [alt for _, _, alt in measurements.positions.values() if not math.isnan(alt)]
    return float(np.median(fixed or mobile or [0.0]))


def _check_extent(frame: LocalFrame, file: str, names: list[str], lat: Floats, lon: Floats) -> None:
    distance = np.nan_to_num(frame.distance_from_origin(lat, lon))
    if distance.max() > _MAX_EXTENT_M:
        raise DatasetImportError(
            f"{file}: {names[int(distance.argmax())]!r} is {distance.max() / 1000:,.0f} km from "
            f"the center of the samples; the limit is {_MAX_EXTENT_M / 1000:.0f} km. Are lat and "
            "lon swapped?"
        )


def _in_service(
    receivers: list[Receiver], measurements: MeasurementRows, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """[N, R]: a receiver that never moves heard nothing where it has no row, even if its position
    is unknown; the state of a mobile receiver without a row is unknown."""
    mobile = {receiver for _, receiver in measurements.positions}
    always = [one.fixed or column not in mobile for column, one in enumerate(receivers)]
    in_service = np.broadcast_to(always, shape).copy()
    if measurements.readings:
        in_service[tuple(np.array(list(measurements.readings)).T)] = True
    return in_service
