"""A single table with its mapping, as the rows of the three tables of the import format."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import suppress

from training.localization.data.dataset import Receiver
from training.localization.geometry import LocalCoordinates
from training.localization.importing import limits
from training.localization.importing.csv_tables import Row
from training.localization.importing.row_errors import RowErrors
from training.localization.importing.single_table import Table
from training.localization.maidenhead import parse_locator
from training.localization.table_mapping import POSITIONS, ReceiverColumn, Repeated, TableMapping
from training.localization.utm import parse_zone, utm_to_geodetic
from training.programs.datasets import DatasetImportError, InvalidRowError
from training.programs.measurements import MeasurementError, parse_number

# Within which the plane of a LocalFrame keeps lengths to 0.3 %.
MAX_LOCAL_METERS = 500_000.0
_EMPTY = frozenset({"", "-", "na", "n/a", "nan", "none", "null"})


class MappedTable:
    def __init__(self, table: Table, mapping: TableMapping) -> None:
        """Raises DatasetImportError if the table lacks a column of the mapping."""
        table.require(sorted(mapping.columns()))
        self._table, self._mapping = table, mapping
        self._silence = frozenset(mapping.not_heard)
        self._local = LocalCoordinates(*mapping.origin, *mapping.offset_m)
        self._positions_by_row = False

    @property
    def repeated(self) -> Repeated | None:
        return self._mapping.repeated

    @property
    def coordinates(self) -> LocalCoordinates | None:
        return self._local if self._mapping.x_m else None

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
                receivers[column.receiver_id] = self._receiver_of_column(column)
        if len(receivers) > limits.MAX_RECEIVERS:
            raise DatasetImportError(
                f"{len(receivers):,} receivers; at most {limits.MAX_RECEIVERS:,}. Leave out those "
                "that are rarely heard"
            )
        return receivers

    def _receiver_of_column(self, column: ReceiverColumn) -> Receiver:
        name, lat, lon = column.receiver_id, column.lat, column.lon
        if column.x_m is not None and column.y_m is not None:
            try:
                lat, lon = self._to_geodetic(column.x_m, column.y_m, self._mapping.utm_zone)
            except ValueError as error:
                raise DatasetImportError(f"the position of receiver {name!r}: {error}") from None
        return Receiver(name, lat, lon, column.alt_m)

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
            "alt_m": row.fields.get(mapping.receiver_alt_m, ""),
        }
        renamed = Row(row.file, row.line, fields, row.decimal_sign)
        position = self._receiver_position(row)
        alt = renamed.number("alt_m") if fields["alt_m"] and position else None
        return renamed.name("receiver_id"), position, alt

    def _receiver_position(self, row: Row) -> tuple[float, float] | None:
        mapping = self._mapping
        if not mapping.receiver_x_m:
            fields = {
                "lat": row.fields.get(mapping.receiver_lat, ""),
                "lon": row.fields.get(mapping.receiver_lon, ""),
            }
            return Row(row.file, row.line, fields, row.decimal_sign).position()
        columns = mapping.receiver_x_m, mapping.receiver_y_m
        if not any(row.fields[column] for column in columns):
            return None
        return self._locate_in_meters(row, *columns)

    def _sample_id(self, row: Row) -> str:
        """The ID of the row's sample; the line number if no columns identify samples."""
        return " ".join(row.fields[column] for column in self._mapping.sample_id) or str(row.line)

    def _position_columns(self) -> list[str]:
        roles = (*sum(POSITIONS, ()), "zone")
        return [column for role in roles if (column := getattr(self._mapping, role))]

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
            if mapping.locator:
                found.append(_locator(row, mapping.locator))
            else:
                columns = (mapping.easting or mapping.x_m, mapping.northing or mapping.y_m)
                found.append(self._locate_in_meters(row, *columns))

        errors.collect(add, [Row(row.file, row.line, {**row.fields, **fields}, row.decimal_sign)])
        for lat, lon in found:
            fields["lat"], fields["lon"] = repr(lat), repr(lon)
            yield Row(row.file, row.line, fields)

    def _locate_in_meters(self, row: Row, first: str, second: str) -> tuple[float, float]:
        """Latitude and longitude of two columns of local meters or UTM coordinates."""
        for column in (first, second):
            if not row.fields[column]:
                raise row.error(f"{column} is empty; give both {first} and {second}")
        zone = self._mapping.utm_zone or row.fields.get(self._mapping.zone, "")
        try:
            return self._to_geodetic(row.number(first), row.number(second), zone)
        except ValueError as error:
            raise row.error(str(error)) from None

    def _to_geodetic(self, x: float, y: float, zone: str) -> tuple[float, float]:
        if self._mapping.easting:
            return utm_to_geodetic(x, y, *parse_zone(zone))
        distance = max(abs(x - self._local.x_m), abs(y - self._local.y_m))
        if distance > MAX_LOCAL_METERS:
            raise ValueError(
                f"x_m {x:,.0f} and y_m {y:,.0f} are more than {MAX_LOCAL_METERS / 1000:.0f} km "
                "from the origin; set offset_m to the x_m and y_m of a place nearby"
            )
        return self._local.to_geodetic(x, y)

    def _readings_of_row(self, row: Row) -> Iterator[Row]:
        readings = {
            quantity: text
            for quantity, column in self._mapping.quantities.items()
            if not is_silent(text := row.fields[column], self._silence)
        }
        if not readings:
            return
        receiver = row.fields[self._mapping.receiver_id]
        fields = {"sample_id": self._sample_id(row), "receiver_id": receiver, **readings}
        if self._positions_by_row:
            fields["rx_alt_m"] = row.fields.get(self._mapping.receiver_alt_m, "")
            if self._mapping.receiver_x_m:
                yield self._with_position_of_receiver(row, fields)
                return
            for name in ("lat", "lon"):
                column = getattr(self._mapping, f"receiver_{name}")
                fields[f"rx_{name}"] = row.fields.get(column, "")
        yield Row(row.file, row.line, fields, row.decimal_sign)

    def _with_position_of_receiver(self, row: Row, fields: dict[str, str]) -> Row:
        """The position is written with points, so the readings are too."""
        pointed = Row(row.file, row.line, fields, row.decimal_sign).with_points()
        with suppress(InvalidRowError):  # reported with the receivers
            if position := self._receiver_position(row):
                pointed.fields["rx_lat"], pointed.fields["rx_lon"] = map(repr, position)
        return pointed

    def _readings_of_columns(self, row: Row) -> Iterator[Row]:
        sample = self._sample_id(row)
        heard: dict[str, dict[str, str]] = {}
        for column, receiver in self._mapping.receivers.items():
            if not is_silent(text := row.fields[column], self._silence):
                heard.setdefault(receiver.receiver_id, {})[receiver.quantity] = text
        for receiver_id, readings in heard.items():
            fields = {"sample_id": sample, "receiver_id": receiver_id, **readings}
            yield Row(row.file, row.line, fields, row.decimal_sign)


def is_empty(text: str) -> bool:
    return text.lower() in _EMPTY


def is_silent(text: str, silence: Collection[float]) -> bool:
    """Whether the cell means that the receiver heard nothing."""
    if is_empty(text):
        return True
    try:
        return parse_number("value", text.replace(",", ".")) in silence
    except MeasurementError:
        return False  # the row is refused where the number is read


def _locator(row: Row, column: str) -> tuple[float, float]:
    try:
        return parse_locator(row.fields[column].strip())
    except ValueError as error:
        raise row.error(f"{column} {error}") from None
