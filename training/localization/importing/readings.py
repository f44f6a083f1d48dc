"""Read a table of readings at unknown positions, to be located by a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from training.localization.importing.csv_tables import Row
from training.localization.importing.mapped_table import is_silent
from training.localization.importing.mapping_guess import describe_problem
from training.localization.importing.preview import describe_columns
from training.localization.importing.reading_guess import KnownReceivers, ReadingGuesser
from training.localization.importing.row_errors import RowErrors, TooManyErrorsError
from training.localization.importing.single_table import Table
from training.localization.importing.upload import open_single_table
from training.localization.table_mapping import ReadingMapping
from training.programs.datasets import DatasetImportError, InvalidRowError, Upload
from training.programs.measurements import MeasurementError, check_spread, parse_number
from training.programs.readings import (
    MAX_READINGS,
    ReadingError,
    ReadingOptions,
    ReadingTable,
)

MAX_ERRORS = 100
MAX_TEXT = 200_000  # characters of a table that is returned as text
_NAMED = 10  # names in a message
# A receiver that usually hears a sample is reported if its silence is less probable than this. A
# detection rate of 1 is that of a finite training set.
_USUAL_RATE, _LARGEST_RATE, _CHANCE = 0.8, 0.99, 1e-6
_SIGNALS = ("rssi_dbm", "snr_db", "toa_ns")
_PLACE = ("rx_lat", "rx_lon", "rx_alt_m")
# A cell of a sample: its column, receiver, quantity and text.
_Cell = tuple[str, str, str, str]


def read_readings(
    upload: Upload, workspace: Path, max_bytes: int, options: ReadingOptions
) -> ReadingTable:
    """Every error is in the result; nothing is raised for a table that cannot be read."""
    try:
        table = open_single_table(upload, workspace, max_bytes)
        if table is None:
            raise DatasetImportError("This is not a table; send CSV, XLSX, XLS or ODS")
        return _read(table, options)
    except InvalidRowError as error:
        return ReadingTable(errors=[ReadingError(line=error.line, reason=error.reason)])
    except DatasetImportError as error:
        return ReadingTable(errors=[ReadingError(reason=str(error))])


def _read(table: Table, options: ReadingOptions) -> ReadingTable:
    known = KnownReceivers(options.receivers)
    if all(_is_number(name) and known.find(name) is None for name in table.header):
        names = _enumerate(options.receivers)
        reason = f"the first row must name the columns, such as the receivers {names}"
        return ReadingTable(errors=[ReadingError(line=1, reason=reason)], text=_to_text(table))
    guesser = ReadingGuesser(table, known, options)
    try:
        mapping = guesser.reading_mapping()
    except ValidationError as error:
        reason = (
            f"{describe_problem(error)}. Name a column after each receiver of the model "
            f"({_enumerate(options.receivers)}), or name columns sample, receiver and rssi"
        )
        return ReadingTable(
            errors=[ReadingError(reason=reason)],
            columns=describe_columns(table, None),
            notes=guesser.notes,
            text=_to_text(table),
        )
    return _Reader(table, mapping, known, options, guesser.notes).read()


class _Reader:
    def __init__(
        self,
        table: Table,
        mapping: ReadingMapping,
        known: KnownReceivers,
        options: ReadingOptions,
        notes: Sequence[str],
    ) -> None:
        self._table, self._mapping, self._known, self._options = table, mapping, known, options
        self._silence = frozenset(mapping.not_heard)
        self._found = ReadingTable(
            signals={name: [] for name in (*_SIGNALS, *_PLACE)},
            columns=describe_columns(table, mapping),
            notes=list(notes),
            text=_to_text(table),
        )
        self._arrivals: list[Decimal | None] = []
        self._seen: dict[tuple[str, str], int] = {}
        self._unknown: Counter[str] = Counter()
        self._unused: set[str] = set()
        self._empty_lines: list[int] = []

    def read(self) -> ReadingTable:
        found = self._found
        errors = RowErrors(limit=MAX_ERRORS)
        try:
            for row in self._table.read_rows(errors):
                self._add_row(row)
                if len(found.errors) >= MAX_ERRORS:
                    raise TooManyErrorsError(f"more than {MAX_ERRORS} cells are invalid")
                if len(found.lines) > MAX_READINGS:
                    reason = f"more than {MAX_READINGS:,} readings; send them in parts"
                    found.errors.append(ReadingError(line=row.line, reason=reason))
                    break
        except TooManyErrorsError:
            found.all_errors = False
        found.errors += [ReadingError(line=one.line, reason=one.reason) for one in errors.found]
        found.errors.sort(key=lambda error: error.line)
        if not found.errors:
            self._make_arrivals_relative()
            self._describe()
        return found

    def _add_row(self, row: Row) -> None:
        heard: dict[str, list[_Cell]] = {}
        for cell in self._cells(row):
            heard.setdefault(cell[1], []).append(cell)
        try:
            sample = self._sample_id(row)
            for receiver, cells in heard.items():
                self._add_reading(row, sample, receiver, cells)
        except _CellError as error:
            self._add_error(row, error.column, error.reason)
        if not heard and self._mapping.layout == "wide":
            self._empty_lines.append(row.line)

    def _cells(self, row: Row) -> Iterator[_Cell]:
        """The readings of known receivers that have a signal used by the model."""
        mapping = self._mapping
        if mapping.layout == "wide":
            cells: Iterable[_Cell] = (
                (column, one.receiver_id, one.quantity, row.fields[column])
                for column, one in mapping.receivers.items()
            )
        else:
            receiver = row.fields[mapping.receiver_id]
            cells = (
                (column, receiver, quantity, row.fields[column])
                for quantity, column in mapping.quantities.items()
            )
        for column, receiver, quantity, text in cells:
            if is_silent(text, self._silence):
                continue
            name = self._known.find(receiver)
            if name is None and receiver:
                self._unknown[receiver] += 1
            elif quantity not in self._options.signals:
                self._unused.add(quantity)
            else:
                yield column, name or "", quantity, text

    def _sample_id(self, row: Row) -> str:
        columns = self._mapping.sample_id
        if not columns:
            return f"row {row.line}" if self._mapping.layout == "wide" else "all rows"
        text = " ".join(row.fields[column] for column in columns)
        return _name(row, columns[0], text)

    def _add_reading(self, row: Row, sample: str, receiver: str, cells: Sequence[_Cell]) -> None:
        found, column = self._found, cells[0][0]
        if not receiver:
            raise _CellError(self._mapping.receiver_id, "the receiver is empty")
        if (first := self._seen.setdefault((sample, receiver), row.line)) != row.line:
            raise _CellError(
                self._mapping.receiver_id or column,
                f"receiver {receiver!r} is in row {first} already, for the same sample {sample!r}",
            )
        values: dict[str, float] = {}
        arrival: Decimal | None = None
        for one, _, quantity, text in cells:
            cell = Row(row.file, row.line, {quantity: text}, row.decimal_sign)
            try:
                values[quantity] = cell.number(quantity)
                if quantity == "toa_ns":
                    arrival = cell.arrival()
            except InvalidRowError as error:
                self._add_error(row, one, error.reason)
        values |= self._place(row, receiver)
        found.lines.append(row.line)
        found.sample_ids.append(sample)
        found.receiver_ids.append(receiver)
        self._arrivals.append(arrival)
        for name, column_values in found.signals.items():
            column_values.append(values.get(name))

    def _place(self, row: Row, receiver: str) -> dict[str, float]:
        """Where a mobile receiver was."""
        mapping = self._mapping
        if not mapping.receiver_lat or receiver not in self._options.mobile:
            return {}
        columns = (mapping.receiver_lat, mapping.receiver_lon, mapping.receiver_alt_m)
        place: dict[str, float] = {}
        for name, column in zip(_PLACE, columns, strict=True):
            cell = Row(row.file, row.line, {name: row.fields.get(column, "")}, row.decimal_sign)
            try:
                value = cell.number(name)
            except InvalidRowError as error:
                raise _CellError(column, error.reason) from None
            if not math.isnan(value):
                place[name] = value
        return place

    def _add_error(self, row: Row, column: str, reason: str) -> None:
        self._found.errors.append(ReadingError(line=row.line, column=column, reason=reason))

    def _make_arrivals_relative(self) -> None:
        """Exactly relative to the first of the sample: since 1970, times exceed float precision."""
        found = self._found
        arrivals: dict[str, list[int]] = {}
        for index, arrival in enumerate(self._arrivals):
            if arrival is not None:
                arrivals.setdefault(found.sample_ids[index], []).append(index)
        times = found.signals["toa_ns"]
        for sample, indices in arrivals.items():
            exact = [arrival for index in indices if (arrival := self._arrivals[index]) is not None]
            first = min(exact)
            relative = [float(arrival - first) for arrival in exact]
            try:
                check_spread(sample, relative)
            except MeasurementError as error:
                last = indices[max(range(len(relative)), key=relative.__getitem__)]
                found.errors.append(ReadingError(line=found.lines[last], reason=str(error)))
            for index, value in zip(indices, relative, strict=True):
                times[index] = value

    def _describe(self) -> None:
        """Report ignored readings, and how that may affect the positions."""
        found, mapping = self._found, self._mapping
        known = _enumerate(self._options.receivers)
        if self._unknown:
            names = _enumerate(list(self._unknown))
            found.warnings.append(
                f"Not used: readings of {names}, which the model does not know; it has {known}."
            )
        if self._unused:
            found.notes.append(
                f"Not used: {_enumerate(sorted(self._unused))}; the model was trained with "
                f"{' and '.join(self._options.signals)}."
            )
        if not found.lines:
            reason = "no reading of a receiver of the model"
            found.errors.append(ReadingError(reason=f"{reason}; it has {known}"))
            return
        if self._empty_lines:
            rows = _enumerate([str(line) for line in self._empty_lines])
            found.warnings.append(f"No receiver of the model heard anything in row {rows}.")
        missing: list[str] = []
        if mapping.layout == "wide":
            columns = {self._known.find(one.receiver_id) for one in mapping.receivers.values()}
            missing = [name for name in self._options.receivers if name not in columns]
            if missing:
                found.warnings.append(
                    f"The table has no column for {_enumerate(missing)}. Receivers without a "
                    "column count as having heard nothing; mark those that were not listening as "
                    "out of service."
                )
        if silent := self._find_silent({*missing, *found.receiver_ids}):
            found.warnings.append(
                f"{_enumerate(silent)} heard nothing in this table, but at least "
                f"{_USUAL_RATE:.0%} of the samples that the model was trained with. Mark receivers "
                "that were not listening as out of service."
            )

    def _find_silent(self, others: Collection[str]) -> list[str]:
        """Receivers that hear most samples, and whose silence here cannot be chance."""
        samples = len(set(self._found.sample_ids))
        return [
            name
            for name, rate in self._options.detection_rates.items()
            if name not in others
            and rate >= _USUAL_RATE
            and (1 - min(rate, _LARGEST_RATE)) ** samples < _CHANCE
        ]


class _CellError(Exception):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.reason = column, reason


def _name(row: Row, column: str, text: str) -> str:
    try:
        return Row(row.file, row.line, {column: text.strip()}).name(column)
    except InvalidRowError as error:
        raise _CellError(column, error.reason) from None


def _is_number(text: str) -> bool:
    try:
        parse_number("value", text.replace(",", "."))
    except MeasurementError:
        return False
    return True


def _enumerate(names: Sequence[str]) -> str:
    listed = ", ".join(name[:60] for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{listed} and {more:,} more" if more > 0 else listed


def _to_text(table: Table) -> str:
    """A small table, separated by tabs, with each row at its line; empty for a larger one."""
    lines = ["\t".join(map(_to_cell, table.header))]
    length = len(lines[0])
    errors = RowErrors(limit=2)
    try:
        for row in islice(table.read_rows(errors), MAX_TEXT):
            padding = row.line - len(lines) - 1
            length += max(0, padding)
            if length > MAX_TEXT:  # a compressed file may have millions of blank lines
                return ""
            lines += [""] * padding
            lines.append("\t".join(map(_to_cell, row.fields.values())))
            length += len(lines[-1]) + 1
            if length > MAX_TEXT or len(lines) != row.line:
                return ""
    except TooManyErrorsError:
        return ""
    return "" if errors.found else "\n".join(lines)


def _to_cell(text: str) -> str:
    text = " ".join(text.split())
    if text.startswith('"'):  # it would begin a quoted cell
        return '"' + text.replace('"', '""') + '"'
    return text
