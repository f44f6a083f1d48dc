"""A single table with its mapping, as the rows of the three tables of the import format."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from training.localization.data.dataset import Receiver
from training.localization.geometry import LocalFrame
from training.localization.importing import limits
from training.localization.importing.csv_tables import Row
from training.localization.importing.row_errors import RowErrors
from training.localization.importing.single_table import Table
from training.localization.table_mapping import TableMapping
from training.programs.datasets import DatasetImportError
from training.programs.measurements import MeasurementError, parse_number

LOCATOR = re.compile(r"[A-R]{2}(?:[0-9]{2}(?:[A-X]{2}(?:[0-9]{2}(?:[A-X]{2})?)?)?)?", re.IGNORECASE)
_EMPTY = frozenset({"", "-", "na", "n/a", "nan", "none", "null"})


class MappedTable:
    def __init__(self, table: Table, mapping: TableMapping) -> None:
        """Raises DatasetImportError if the table lacks a column of the mapping."""
        table.require(sorted(mapping.columns()))
        self._table, self._mapping = table, mapping
        self._silence = frozenset(mapping.not_heard)
        self._frame = LocalFrame(*mapping.origin)
        self._positions_by_row = False

    def read_receivers(self, errors: RowErrors) -> dict[str, Receiver]:
        if self._mapping.layout == "wide":
            return self._receivers_of_columns()
        return self._receivers_of_rows(errors)

    def samples(self, errors: RowErrors) -> Generator[Row]:
        """A row for each sample. Of a long table: its first row, if the others agree with it."""
        positions: dict[str, tuple[str, ...]] = {}
        position_columns = self._position_columns()
        for row in self._table.read_rows(errors):
            sample = self._sample_id(row)
            if self._mapping.layout == "long":
                position = tuple(row.fields[column] for column in position_columns)
                known = positions.setdefault(sample, position)
                if known is not position:
                    if known != position:
                        errors.add(row.error(f"sample {sample!r} has other positions above"))
                    continue
            yield from self._sample(row, sample, errors)

    def measurements(self, errors: RowErrors) -> Generator[Row]:
        quiet = RowErrors(limit=limits.MAX_SAMPLES)  # reported with the samples
        for row in self._table.read_rows(quiet):
            if self._mapping.layout == "long":
                yield from self._readings_of_row(row)
            else:
                yield from self._readings_of_columns(row)

    def _receivers_of_columns(self) -> dict[str, Receiver]:
        receivers: dict[str, Receiver] = {}
        for column in self._mapping.receivers.values():
            known = receivers.get(column.receiver_id)
            if known is None or known.lat is None:
                receivers[column.receiver_id] = Receiver(
                    column.receiver_id, column.lat, column.lon, column.alt_m
                )
        if len(receivers) > limits.MAX_RECEIVERS:
            raise DatasetImportError(
                f"{len(receivers):,} receivers; at most {limits.MAX_RECEIVERS:,}. Leave out those "
                "that are rarely heard"
            )
        return receivers

    def _receivers_of_rows(self, errors: RowErrors) -> dict[str, Receiver]:
        """The receivers of a long table; one whose rows have different positions is mobile."""
        receivers: dict[str, Receiver] = {}
        moving: set[str] = set()

        def add(row: Row) -> None:
            name, position, alt = self._receiver_of(row)
            known = receivers.get(name)
            if known is None and len(receivers) == limits.MAX_RECEIVERS:
                raise row.error(
                    f"more than {limits.MAX_RECEIVERS:,} receivers; leave out those that are "
                    "rarely heard"
                )
            lat, lon = position or (None, None)
            found = Receiver(name, lat, lon, alt)
            if receivers.setdefault(name, found) != found:
                moving.add(name)

        quiet = RowErrors(limit=limits.MAX_SAMPLES)  # reported with the samples
        errors.collect(add, self._table.read_rows(quiet))
        self._positions_by_row = bool(moving)
        for name in moving:
            receivers[name] = Receiver(name, None, None, None)
        if not receivers:
            raise DatasetImportError(f"{self._table.file} has no rows")
        return receivers

    def _receiver_of(self, row: Row) -> tuple[str, tuple[float, float] | None, float | None]:
        mapping = self._mapping
        fields = {
            "receiver_id": row.fields[mapping.receiver_id],
            "lat": row.fields.get(mapping.receiver_lat, ""),
            "lon": row.fields.get(mapping.receiver_lon, ""),
            "alt_m": row.fields.get(mapping.receiver_alt_m, ""),
        }
        renamed = Row(row.file, row.line, fields, row.decimal_sign)
        position = renamed.position()
        alt = renamed.number("alt_m") if fields["alt_m"] and position else None
        return renamed.name("receiver_id"), position, alt

    def _sample_id(self, row: Row) -> str:
        """The ID of the row's sample; the line number if no columns identify samples."""
        return " ".join(row.fields[column] for column in self._mapping.sample_id) or str(row.line)

    def _position_columns(self) -> list[str]:
        mapping = self._mapping
        return [one for one in (mapping.lat, mapping.lon, mapping.locator, mapping.x_m,
                                mapping.y_m) if one]  # fmt: skip

    def _sample(self, row: Row, sample: str, errors: RowErrors) -> Iterator[Row]:
        fields = {"sample_id": sample}
        for name in ("split", "group"):
            if column := getattr(self._mapping, name):
                fields[name] = row.fields[column]
        renamed = Row(row.file, row.line, fields, row.decimal_sign)
        yield from self._locate(renamed, row, errors)

    def _locate(self, renamed: Row, row: Row, errors: RowErrors) -> Iterator[Row]:
        mapping, fields = self._mapping, renamed.fields
        if mapping.lat:
            fields["lat"], fields["lon"] = row.fields[mapping.lat], row.fields[mapping.lon]
            yield renamed
            return
        found: list[tuple[float, float]] = []

        def add(row: Row) -> None:
            found.append(
                parse_locator(row, mapping.locator)
                if mapping.locator
                else self._to_geodetic(row.number(mapping.x_m), row.number(mapping.y_m))
            )

        errors.collect(add, [Row(row.file, row.line, {**row.fields, **fields}, row.decimal_sign)])
        for lat, lon in found:
            fields["lat"], fields["lon"] = repr(lat), repr(lon)
            yield Row(row.file, row.line, fields)

    def _to_geodetic(self, east: float, north: float) -> tuple[float, float]:
        lat, lon = self._frame.to_geodetic((east, north))
        return float(lat), float(lon)

    def _is_silent(self, text: str) -> bool:
        if is_empty(text):
            return True
        try:
            return parse_number("value", text.replace(",", ".")) in self._silence
        except MeasurementError:
            return False  # the row is refused where the number is read

    def _readings_of_row(self, row: Row) -> Iterator[Row]:
        readings = {
            quantity: text
            for quantity, column in self._mapping.quantities.items()
            if not self._is_silent(text := row.fields[column])
        }
        if not readings:
            return
        receiver = row.fields[self._mapping.receiver_id]
        fields = {"sample_id": self._sample_id(row), "receiver_id": receiver, **readings}
        if self._positions_by_row:
            for name in ("lat", "lon", "alt_m"):
                column = getattr(self._mapping, f"receiver_{name}")
                fields[f"rx_{name}"] = row.fields.get(column, "")
        yield Row(row.file, row.line, fields, row.decimal_sign)

    def _readings_of_columns(self, row: Row) -> Iterator[Row]:
        sample = self._sample_id(row)
        heard: dict[str, dict[str, str]] = {}
        for column, receiver in self._mapping.receivers.items():
            if not self._is_silent(text := row.fields[column]):
                heard.setdefault(receiver.receiver_id, {})[receiver.quantity] = text
        for receiver_id, readings in heard.items():
            fields = {"sample_id": sample, "receiver_id": receiver_id, **readings}
            yield Row(row.file, row.line, fields, row.decimal_sign)


def is_empty(text: str) -> bool:
    return text.lower() in _EMPTY


def parse_locator(row: Row, column: str) -> tuple[float, float]:
    """Latitude and longitude of the center of a Maidenhead square (IARU Region 1, 1980)."""
    text = row.fields[column].strip()
    if not LOCATOR.fullmatch(text):
        raise row.error(f"{column} {text[:20]!r} is not a Maidenhead locator, such as JN45ab")
    digits = [int(one) if one.isdigit() else ord(one.upper()) - ord("A") for one in text]
    lon = lat = 0.0
    size = 20.0  # degrees of longitude; a field is half as high
    for pair, (east, north) in enumerate(zip(digits[::2], digits[1::2], strict=True)):
        lon, lat = lon + east * size, lat + north * size / 2
        if pair < len(digits) // 2 - 1:
            size /= 24 if pair % 2 else 10
    return lat - 90 + size / 4, lon - 180 + size / 2
