"""Collect the rows of the three tables, and check them against each other and the limits."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import SPLITS, Receiver
from training.localization.importing import limits
from training.localization.importing.csv_tables import Row
from training.localization.importing.row_errors import RowErrors, UnknownIDError
from training.localization.importing.zip_archive import TABLES
from training.localization.table_mapping import Repeated
from training.programs.datasets import DatasetImportError
from training.programs.measurements import MAX_SPREAD_NS, check_spread

RECEIVERS, SAMPLES, MEASUREMENTS = TABLES


def read_receivers(table: Iterable[Row], errors: RowErrors) -> dict[str, Receiver]:
    receivers: dict[str, Receiver] = {}

    def add(row: Row) -> None:
        name, position, alt = row.name("receiver_id"), row.position(), row.number("alt_m")
        if name in receivers:
            raise row.error(f"receiver_id {name!r} is repeated")
        if len(receivers) == limits.MAX_RECEIVERS:
            raise row.error(
                f"more than {limits.MAX_RECEIVERS:,} receivers; leave out those that are rarely "
                "heard"
            )
        if position is None and not math.isnan(alt):
            raise row.error("alt_m without lat and lon; leave all three empty if it moves")
        lat, lon = position or (None, None)
        receivers[name] = Receiver(name, lat, lon, None if math.isnan(alt) else alt)

    errors.collect(add, table)
    if not receivers and not errors.found:
        raise DatasetImportError(f"{RECEIVERS} has no rows")
    return receivers


@dataclass(slots=True)
class SampleRows:
    """samples.csv: the position of each sample, and its split if given.

    Samples with the same value of `group_column` form a group. `use_split_column`: whether to read
    the split column.
    """

    receivers: int
    group_column: str = "group"
    use_split_column: bool = True
    index: dict[str, int] = field(default_factory=dict)
    positions: list[tuple[float, float]] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    _group_index: dict[str, int] = field(default_factory=dict)
    _split_of_group: dict[int, int] = field(default_factory=dict)
    _id_bytes: int = 0

    def add(self, row: Row) -> None:
        name, position = row.name("sample_id"), row.position()
        if name in self.index:
            raise row.error(f"sample_id {name!r} is repeated")
        if reason := limits.refuse_samples(len(self.index) + 1, self.receivers):
            raise row.error(reason)
        self._id_bytes += len(json.dumps(name))
        if self._id_bytes > limits.MAX_ID_BYTES:
            raise row.error(
                f"the sample IDs have more than {limits.MAX_ID_BYTES:,} bytes; use shorter ones"
            )
        if position is None:
            raise row.error("lat and lon are empty; a sample needs its true position")
        if self.group_column in row.fields:
            group = row.name(self.group_column)
            self.groups.append(self._group_index.setdefault(group, len(self._group_index)))
        if self.use_split_column and "split" in row.fields:
            self._add_split(row)
        self.index[name] = len(self.index)
        self.positions.append(position)

    def _add_split(self, row: Row) -> None:
        name, known = row.name("split"), [str(split) for split in SPLITS]
        if name.lower() not in known:
            raise row.error(f"split {name!r} is not one of {', '.join(known)}")
        split = known.index(name.lower())
        if self.groups and self._split_of_group.setdefault(self.groups[-1], split) != split:
            group = row.name(self.group_column)
            raise row.error(f"{self.group_column} {group!r} is in more than one split")
        self.splits.append(split)


class MeasurementRows:
    """measurements.csv: what each receiver measured of each sample, and its position if mobile.

    A cell is `sample x receivers + receiver`. Arrays, since a row of Python objects takes more than
    ten times their memory. `repeated`: what several rows of a cell do;
    None if the table has no mapping to choose it.
    """

    def __init__(
        self,
        samples: dict[str, int],
        receivers: dict[str, Receiver],
        *,
        repeated: Repeated | None = None,
    ) -> None:
        self._samples, self._repeated = samples, repeated
        self._column = {name: index for index, name in enumerate(receivers)}
        self._seen = bytearray(len(samples) * len(receivers))
        self._first: dict[int, Decimal] = {}  # arrival of a sample
        self._cells, self._rssi, self._snr, self._toa = (
            array("q"), array("f"), array("f"), array("d"),
        )  # fmt: skip
        self._moved, self._positions = array("q"), array("d")

    def add(self, row: Row) -> None:
        cell = self._cell(row)
        reading, arrival = (row.number("rssi_dbm"), row.number("snr_db")), row.arrival()
        if self._seen[cell] and arrival is not None:
            raise row.error(
                "repeated readings with arrival times are different transmissions; give each its "
                "own sample"
            )
        row.number("frequency_offset_hz")  # part of the format, but not used
        if arrival is None and all(map(math.isnan, reading)):
            raise row.error(
                "the row has no measurement; give rssi_dbm, snr_db or toa_ns, or remove the row if "
                "the receiver heard nothing"
            )
        position = row.position("rx_")
        if position is not None:
            self._moved.append(cell)
            self._positions.extend((*position, row.number("rx_alt_m")))
        self._seen[cell] = True
        self._cells.append(cell)
        self._rssi.append(reading[0])
        self._snr.append(reading[1])
        self._toa.append(math.nan if arrival is None else self._since_first(cell, arrival))

    def _cell(self, row: Row) -> int:
        sample, receiver = row.name("sample_id"), row.name("receiver_id")
        if sample not in self._samples:
            raise UnknownIDError(row, "sample_id", sample, SAMPLES)
        if receiver not in self._column:
            raise UnknownIDError(row, "receiver_id", receiver, RECEIVERS)
        cell = self._samples[sample] * len(self._column) + self._column[receiver]
        if self._seen[cell] and self._repeated != "mean":
            reason = f"receiver {receiver!r} is repeated for sample {sample!r}"
            if self._repeated:
                reason += "; give each reading its own sample, or set repeated to mean"
            raise row.error(reason)
        return cell

    def _since_first(self, cell: int, arrival: Decimal) -> float:
        """Nanoseconds since the first row of the sample: exact, and small enough for a float."""
        first = self._first.setdefault(cell // len(self._column), arrival)
        return float(arrival - first)

    @property
    def cells(self) -> NDArray[np.int64]:
        return np.frombuffer(self._cells, np.int64)

    @property
    def moved_cells(self) -> NDArray[np.int64]:
        return np.frombuffer(self._moved, np.int64)

    @property
    def positions(self) -> NDArray[np.float64]:
        """[moved cells, 3]: latitude, longitude, altitude."""
        return np.frombuffer(self._positions, np.float64).reshape(-1, 3)

    def dense(self) -> tuple[NDArray[np.float32], ...]:
        """rssi, snr and toa [N, R], NaN where absent; toa since the first arrival of a sample.

        Raises MeasurementError.
        """
        shape = len(self._samples), len(self._column)
        toa = self._to_dense(shape, self._toa)
        first = np.fmin.reduce(toa, axis=1, keepdims=True)
        for sample in np.flatnonzero(np.fmax.reduce(toa - first, axis=1) > MAX_SPREAD_NS)[:1]:
            check_spread(list(self._samples)[sample], toa[sample])
        return (
            self._to_means(shape, self._rssi),
            self._to_means(shape, self._snr),
            (toa - first).astype(np.float32),
        )

    def _to_means(self, shape: tuple[int, int], values: array[float]) -> NDArray[np.float32]:
        if self._repeated != "mean" or not values:
            return self._to_dense(shape, values).astype(np.float32)
        numbers = np.frombuffer(values, values.typecode).astype(np.float64)
        known = np.isfinite(numbers)
        size, cells = shape[0] * shape[1], self.cells[known]
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing was measured
            means = np.bincount(cells, numbers[known], size) / np.bincount(cells, minlength=size)
        return means.reshape(shape).astype(np.float32)

    def _to_dense(self, shape: tuple[int, int], values: array[float]) -> NDArray[np.floating]:
        dense = np.full(shape, np.nan, values.typecode)
        if values:
            dense.reshape(-1)[self.cells] = np.frombuffer(values, values.typecode)
        return dense
