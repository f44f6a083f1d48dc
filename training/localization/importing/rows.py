"""The rows of measured tables, collected one by one and checked against one another."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from training.localization.data.dataset import SPLITS, Receiver
from training.localization.importing.csv_tables import DatasetImportError, Row
from training.localization.importing.zip_archive import TABLES

RECEIVERS, SAMPLES, MEASUREMENTS = TABLES
Cell = tuple[int, int]  # sample, receiver


def read_receivers(table: Iterable[Row]) -> dict[str, Receiver]:
    receivers: dict[str, Receiver] = {}
    for row in table:
        name, place, alt = row.text("receiver_id"), row.place(), row.number("alt_m")
        if name in receivers:
            raise row.bad(f"receiver_id {name!r} is there twice")
        if place is None and not math.isnan(alt):
            raise row.bad("alt_m without lat and lon; a receiver that moves has none of them")
        lat, lon = place or (None, None)
        receivers[name] = Receiver(name, lat, lon, None if math.isnan(alt) else alt)
    if not receivers:
        raise DatasetImportError(f"{RECEIVERS} has no receiver")
    return receivers


@dataclass(slots=True)
class SampleRows:
    """samples.csv: where each sample was sent, and its side of the split if that is given.

    `column`: samples with the same value of it form a group; `heed_split`: whether a split column
    counts.
    """

    column: str = "group"
    heed_split: bool = True
    index: dict[str, int] = field(default_factory=dict)
    places: list[tuple[float, float]] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)
    group: list[int] = field(default_factory=list)
    _side_of_group: dict[int, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        name, place = row.text("sample_id"), row.place()
        if name in self.index:
            raise row.bad(f"sample_id {name!r} is there twice")
        if place is None:
            raise row.bad("lat and lon are empty; a sample needs its true place")
        if self.column in row.fields:
            self.group.append(self.groups.setdefault(row.text(self.column), len(self.groups)))
        if self.heed_split and "split" in row.fields:
            self._add_side(row)
        self.index[name] = len(self.index)
        self.places.append(place)

    def _add_side(self, row: Row) -> None:
        name = row.text("split")
        if name not in SPLITS:
            raise row.bad(f"split {name!r} is none of {', '.join(SPLITS)}")
        side = SPLITS.index(name)
        if self.group and self._side_of_group.setdefault(self.group[-1], side) != side:
            raise row.bad(f"{self.column} {row.text(self.column)!r} is on two sides of the split")
        self.sides.append(side)


class MeasurementRows:
    """measurements.csv: what each receiver heard of each sample, and where it was then."""

    def __init__(self, samples: dict[str, int], receivers: dict[str, Receiver]) -> None:
        self._samples, self._receivers = samples, receivers
        self._column = {name: index for index, name in enumerate(receivers)}
        self.readings: dict[Cell, tuple[float, float]] = {}
        self.arrivals: dict[Cell, Decimal] = {}
        self.places: dict[Cell, tuple[float, float, float]] = {}

    def add(self, row: Row) -> None:
        cell = self._cell(row)
        reading, arrival = (row.number("rssi_dbm"), row.number("snr_db")), _arrival(row)
        row.number("frequency_offset_hz")  # part of the format, and of no use to a place
        if arrival is None and all(map(math.isnan, reading)):
            raise row.bad("no signal: give at least one of rssi_dbm, snr_db, toa_ns")
        place = row.place("rx_")
        if place is not None:
            self.places[cell] = (*place, row.number("rx_alt_m"))
        self.readings[cell] = reading
        if arrival is not None:
            self.arrivals[cell] = arrival

    def _cell(self, row: Row) -> Cell:
        sample, receiver = row.text("sample_id"), row.text("receiver_id")
        if sample not in self._samples:
            raise row.bad(f"sample_id {sample!r} is not in {SAMPLES}")
        if receiver not in self._column:
            raise row.bad(f"receiver_id {receiver!r} is not in {RECEIVERS}")
        cell = self._samples[sample], self._column[receiver]
        if cell in self.readings:
            raise row.bad(f"receiver {receiver!r} is there twice for sample {sample!r}")
        return cell


def _arrival(row: Row) -> Decimal | None:
    """Exactly as written: nanoseconds since 1970 need more digits than a float has."""
    if math.isnan(row.number("toa_ns")):
        return None
    try:
        return Decimal(row.text("toa_ns"))
    except InvalidOperation:
        raise row.bad(f"toa_ns {row.text('toa_ns')!r} is not a number") from None
