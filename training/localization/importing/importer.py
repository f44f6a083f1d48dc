"""Import measured data: three tables in a folder or zip become a dataset."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.localization.config import ImportConfig
from training.localization.data import splits
from training.localization.data.dataset import SPLITS, Dataset, Receiver
from training.localization.geometry import Floats, LocalCoordinates, LocalFrame
from training.localization.importing.csv_tables import Row, open_table
from training.localization.importing.mapped_table import MappedTable
from training.localization.importing.row_errors import RowErrors
from training.localization.importing.rows import (
    MEASUREMENTS,
    RECEIVERS,
    SAMPLES,
    MeasurementRows,
    SampleRows,
    read_receivers,
)
from training.localization.importing.upload import open_single_table
from training.localization.importing.zip_archive import extract_tables
from training.localization.table_mapping import Repeated
from training.programs.datasets import DatasetImportError, MappingRequiredError, Upload
from training.programs.measurements import MeasurementError

# Required and optional columns of each table.
_COLUMNS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    RECEIVERS: (("receiver_id", "lat", "lon", "alt_m"), ()),
    SAMPLES: (("sample_id", "lat", "lon"), ()),
    MEASUREMENTS: (
        ("sample_id", "receiver_id"),
        ("rssi_dbm", "snr_db", "toa_ns", "frequency_offset_hz", "rx_lat", "rx_lon", "rx_alt_m"),
    ),
}
_DEFAULT_CONFIG = ImportConfig()
_MAX_EXTENT_M = 500_000.0  # positions are computed on a plane, which is accurate within this


class Source(Protocol):
    """Measured data as rows of receivers, samples and measurements.

    Each method may raise DatasetImportError; invalid rows go to `errors`.
    """

    @property
    def repeated(self) -> Repeated | None:
        """What several readings of a receiver in a sample do; None: refused, without a choice."""

    @property
    def coordinates(self) -> LocalCoordinates | None:
        """Those of the positions, if they are in local meters."""

    def read_receivers(self, errors: RowErrors) -> dict[str, Receiver]: ...

    def samples(self, errors: RowErrors) -> Generator[Row]: ...

    def measurements(self, errors: RowErrors) -> Generator[Row]: ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """The three tables of the import format; `max_bytes` limits the uncompressed size of each."""

    folder: Path
    max_bytes: float = math.inf

    @property
    def repeated(self) -> Repeated | None:
        return None

    @property
    def coordinates(self) -> LocalCoordinates | None:
        return None

    def read_receivers(self, errors: RowErrors) -> dict[str, Receiver]:
        with self._open(RECEIVERS, errors) as rows:
            return read_receivers(rows, errors)

    def samples(self, errors: RowErrors) -> Generator[Row]:
        with self._open(SAMPLES, errors) as rows:
            yield from rows

    def measurements(self, errors: RowErrors) -> Generator[Row]:
        with self._open(MEASUREMENTS, errors) as rows:
            yield from rows

    def read_header(self, name: str) -> tuple[str, ...]:
        """Raises DatasetImportError if the table lacks a column or has unknown ones."""
        with self._open(name, RowErrors()) as rows:
            first = next(rows, None)
            return tuple(first.fields) if first else ()

    def _open(self, name: str, errors: RowErrors) -> AbstractContextManager[Iterator[Row]]:
        required, optional = _COLUMNS[name]
        return open_table(
            self.folder,
            name,
            required,
            optional,
            allow_other_columns=name == SAMPLES,
            max_bytes=self.max_bytes,
            errors=errors,
        )


def read_folder(
    folder: Path, max_bytes: float = math.inf, config: ImportConfig = _DEFAULT_CONFIG
) -> Dataset:
    return read_source(FolderSource(folder, max_bytes), config, RowErrors())


def read_upload(
    upload: Upload, workspace: Path, max_bytes: int, config: ImportConfig = _DEFAULT_CONFIG
) -> Dataset:
    """A zip of the three tables, or a single table with the mapping of `config`."""
    mapping = config.mapping
    table = open_single_table(upload, workspace, max_bytes, mapping.sheet if mapping else "")
    if table is None:
        folder = extract_tables(upload.path, workspace, max_bytes)
        return read_folder(folder, max_bytes, config)
    if mapping is None:
        raise MappingRequiredError(table.file)
    return read_source(MappedTable(table, mapping), config, RowErrors())


def read_source(source: Source, config: ImportConfig, errors: RowErrors) -> Dataset:
    """The dataset; raises DatasetImportError if `errors` has invalid rows in the end."""
    receivers = source.read_receivers(errors)
    by_column = config.split_by == "column"
    samples = SampleRows(
        len(receivers),
        group_column=config.split_column if by_column else "group",
        use_split_column=config.split_by == "auto",
    )
    with closing(source.samples(errors)) as rows:
        errors.collect(samples.add, rows)
    if not samples.index and not errors.found:
        raise DatasetImportError(f"{SAMPLES} has no rows")
    measurements = MeasurementRows(samples.index, receivers, repeated=source.repeated)
    with closing(source.measurements(errors)) as rows:
        errors.collect(measurements.add, rows)
    if errors.found:
        raise errors.found[0]
    if not len(measurements.cells):
        raise DatasetImportError(f"{MEASUREMENTS} has no rows; nothing was heard of any sample")
    if by_column and not samples.groups:
        raise DatasetImportError(f"{SAMPLES} has no column {config.split_column!r} to split by")
    dataset = _build_dataset(list(receivers.values()), samples, measurements, config)
    return replace(dataset, coordinates=source.coordinates)


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
    try:
        rssi, snr, toa = measurements.dense()
    except MeasurementError as error:
        raise DatasetImportError(f"{MEASUREMENTS}: {error}") from None
    split = _assign_splits(samples, group, config.split_seed)
    heard = np.unique(measurements.cells // len(receivers))
    if not (split[heard] == SPLITS.index("train")).any():
        raise DatasetImportError(
            f"{MEASUREMENTS} has no row for a sample of the training split, so nothing can be "
            "learned; measure more samples, or assign them to other splits"
        )
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
        split=split,
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


def _receiver_positions(
    frame: LocalFrame,
    receivers: list[Receiver],
    measurements: MeasurementRows,
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """[N, R, 3]: from the measurement row if given, else from receivers.csv, else NaN."""
    names = [receiver.id for receiver in receivers]
    fixed = np.array(
        [(receiver.lat, receiver.lon, receiver.alt_m) for receiver in receivers], float
    )
    constant = np.broadcast_to(_to_local(frame, RECEIVERS, names, fixed), (*shape, 3))
    moved = measurements.moved_cells
    if not len(moved):
        return constant
    rx = constant.copy()
    row_names = [names[cell] for cell in moved % len(names)]
    rx.reshape(-1, 3)[moved] = _to_local(frame, MEASUREMENTS, row_names, measurements.positions)
    return rx


def _to_local(
    frame: LocalFrame, file: str, names: list[str], positions: Floats
) -> NDArray[np.float32]:
    lat, lon, alt = positions.T
    _check_extent(frame, file, names, lat, lon)
    return frame.to_local_3d(lat, lon, alt).astype(np.float32)


def _ground_altitude(receivers: list[Receiver], measurements: MeasurementRows) -> float:
    """Assumed altitude of the transmitters: the median of the receivers, in meters.

    The height of transmitters is not measured. Sea level would put a city on a plateau a kilometer
    and a half below its receivers. The median tolerates a single wrong altitude.
    """
    fixed = [receiver.alt_m for receiver in receivers if receiver.alt_m is not None]
    mobile = measurements.positions[:, 2]
    mobile = mobile[~np.isnan(mobile)]
    return float(np.median(fixed or mobile if fixed or len(mobile) else [0.0]))


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
    mobile = set((measurements.moved_cells % shape[1]).tolist())
    always = [receiver.fixed or column not in mobile for column, receiver in enumerate(receivers)]
    in_service = np.broadcast_to(always, shape).copy()
    in_service.reshape(-1)[measurements.cells] = True
    return in_service
