"""Collect the rows of the three tables, and check them against each other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from training.localization.data.dataset import SPLITS, Receiver
from training.localization.importing.csv_tables import Row
from training.localization.importing.zip_archive import TABLES
from training.programs.datasets import DatasetImportError

RECEIVERS, SAMPLES, MEASUREMENTS = TABLES
Cell = tuple[int, int]  # sample, receiver


def read_receivers(table: Iterable[Row]) -> dict[str, Receiver]:
    receivers: dict[str, Receiver] = {}
    for row in table:
        name, position, alt = row.text("receiver_id"), row.position(), row.number("alt_m")
        if name in receivers:
            raise row.error(f"receiver_id {name!r} is repeated")
        if position is None and not math.isnan(alt):
            raise row.error("alt_m without lat and lon; leave all three empty if it moves")
        lat, lon = position or (None, None)
        receivers[name] = Receiver(name, lat, lon, None if math.isnan(alt) else alt)
    if not receivers:
        raise DatasetImportError(f"{RECEIVERS} has no rows")
    return receivers


@dataclass(slots=True)
class SampleRows:
    """samples.csv: the position of each sample, and its split if given.

    Samples with the same value of `group_column` form a group. `use_split_column`: whether to read
    the split column.
    """

    group_column: str = "group"
    use_split_column: bool = True
    index: dict[str, int] = field(default_factory=dict)
    positions: list[tuple[float, float]] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    _group_index: dict[str, int] = field(default_factory=dict)
    _split_of_group: dict[int, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        name, position = row.text("sample_id"), row.position()
        if name in self.index:
            raise row.error(f"sample_id {name!r} is repeated")
        if position is None:
            raise row.error("lat and lon are empty; a sample needs its true position")
        if self.group_column in row.fields:
            group = row.text(self.group_column)
            self.groups.append(self._group_index.setdefault(group, len(self._group_index)))
        if self.use_split_column and "split" in row.fields:
            self._add_split(row)
        self.index[name] = len(self.index)
        self.positions.append(position)

    def _add_split(self, row: Row) -> None:
        name = row.text("split")
        if name not in SPLITS:
            raise row.error(f"split {name!r} is not one of {', '.join(SPLITS)}")
        split = SPLITS.index(name)
        if self.groups and self._split_of_group.setdefault(self.groups[-1], split) != split:
            group = row.text(self.group_column)
            raise row.error(f"{self.group_column} {group!r} is in more than one split")
        self.splits.append(split)


class MeasurementRows:
    """measurements.csv: what each receiver measured of each sample, and its position if mobile."""

    def __init__(self, samples: dict[str, int], receivers: dict[str, Receiver]) -> None:
        self._samples, self._receivers = samples, receivers
        self._column = {name: index for index, name in enumerate(receivers)}
        self.readings: dict[Cell, tuple[float, float]] = {}  # rssi, snr
        self.arrivals: dict[Cell, Decimal] = {}
        self.positions: dict[Cell, tuple[float, float, float]] = {}

    def add(self, row: Row) -> None:
        cell = self._cell(row)
        reading, arrival = (row.number("rssi_dbm"), row.number("snr_db")), _arrival(row)
        row.number("frequency_offset_hz")  # part of the format, but not used
        if arrival is None and all(map(math.isnan, reading)):
            raise row.error(
                "the row has no measurement; give rssi_dbm, snr_db or toa_ns, or remove the row if "
                "the receiver heard nothing"
            )
        position = row.position("rx_")
        if position is not None:
            self.positions[cell] = (*position, row.number("rx_alt_m"))
        self.readings[cell] = reading
        if arrival is not None:
            self.arrivals[cell] = arrival

    def _cell(self, row: Row) -> Cell:
        sample, receiver = row.text("sample_id"), row.text("receiver_id")
        if sample not in self._samples:
            raise row.error(f"sample_id {sample!r} is not in {SAMPLES}")
        if receiver not in self._column:
            raise row.error(f"receiver_id {receiver!r} is not in {RECEIVERS}")
        cell = self._samples[sample], self._column[receiver]
        if cell in self.readings:
            raise row.error(f"receiver {receiver!r} is repeated for sample {sample!r}")
        return cell


def _arrival(row: Row) -> Decimal | None:
    # Exact, because nanoseconds since 1970 have more digits than a float.
    if math.isnan(row.number("toa_ns")):
        return None
    try:
        return Decimal(row.text("toa_ns"))
    except InvalidOperation:
        raise row.error(f"toa_ns {row.text('toa_ns')!r} is not a number") from None
