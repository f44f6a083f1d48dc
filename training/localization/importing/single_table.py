"""Open one table of any common kind: CSV with any separator, or a sheet of a workbook."""

from __future__ import annotations

import csv
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from python_calamine import CalamineError, CalamineWorkbook, load_workbook

from training.localization.importing.csv_tables import DecimalSign, Row
from training.localization.importing.row_errors import RowErrors
from training.programs.datasets import DatasetImportError, InvalidRowError

_DELIMITERS = (",", ";", "\t", "|")
_LINES_TO_LOOK_AT = 20
_MAX_COLUMNS = 5000
_MAX_NAME = 1000


@dataclass(frozen=True, slots=True)
class Table:
    """`read_rows` starts again at each call and reports rows of another length to its argument."""

    file: str
    header: tuple[str, ...]
    read_rows: Callable[[RowErrors], Iterator[Row]]
    notes: tuple[str, ...] = ()

    def require(self, columns: Sequence[str]) -> None:
        missing = [column for column in columns if column not in self.header]
        if missing:
            names = ", ".join(repr(column[:60]) for column in missing[:5])
            known = ", ".join(repr(column[:60]) for column in self.header[:20])
            raise DatasetImportError(f"{self.file} has no column {names}; it has {known}")


def open_text(path: Path, file: str) -> Table:
    encoding, notes = _find_encoding(path)
    with _open(path, file, encoding) as (text, _):
        lines = list(islice(text, _LINES_TO_LOOK_AT))
        if not lines:
            raise DatasetImportError(f"{file} is empty; the first line must name the columns")
        scores = {delimiter: _score(lines, delimiter) for delimiter in _DELIMITERS}
        delimiter = max(scores, key=scores.__getitem__)
        header = _name_columns(file, next(csv.reader(lines, delimiter=delimiter)))
    if not any(scores[delimiter]):
        raise DatasetImportError(
            f"This is not a valid zip file, workbook or table: the first line of {file} has no "
            "columns, separated by commas, semicolons, tabs or bars"
        )

    def read(errors: RowErrors) -> Iterator[Row]:
        sign = None if delimiter == "," else DecimalSign()
        with _open(path, file, encoding) as (text, skipped):
            reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
            next(reader)
            for values in reader:
                if any(value and not value.isspace() for value in values):
                    cells = [value.strip() for value in values]
                    line = reader.line_num + skipped
                    yield from _to_row(file, line, header, cells, sign, errors)

    return Table(file, header, read, notes)


def open_workbook(path: Path, file: str, sheet: str = "") -> Table:
    """The named sheet, or the first one, of an Excel or OpenDocument workbook."""
    try:
        workbook = load_workbook(str(path))
        name = sheet or next(iter(workbook.sheet_names), "")
        if name not in workbook.sheet_names:
            known = ", ".join(map(repr, workbook.sheet_names))
            raise DatasetImportError(f"{file} has no sheet {name!r}; it has {known or 'none'}")
        first = next(_sheet_rows(workbook, name), (1, []))
    except CalamineError as error:
        raise DatasetImportError(f"{file} cannot be read as a workbook: {error}") from error
    header = _name_columns(file, first[1])

    def read(errors: RowErrors) -> Iterator[Row]:
        for line, values in islice(_sheet_rows(workbook, name), 1, None):
            yield from _to_row(file, line, header, values, None, errors)

    others = len(workbook.sheet_names) - 1
    notes = (f"Sheet {name!r} is read, of {others + 1}.",) if others and not sheet else ()
    return Table(file, header, read, notes)


def _sheet_rows(workbook: CalamineWorkbook, name: str) -> Iterator[tuple[int, list[str]]]:
    """Number and texts of each row that has any."""
    sheet = workbook.get_sheet_by_name(name)
    for line, values in enumerate(sheet.iter_rows(), 1):
        cells = [_to_text(value) for value in values]
        if any(cells):
            yield line, cells


def _to_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value).strip()


def _find_encoding(path: Path) -> tuple[str, tuple[str, ...]]:
    with path.open("rb") as file:
        start = file.read(4096)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "utf-16", ()
        if b"\0" in start:
            raise DatasetImportError("This is not a valid zip file, workbook or table of text")
    try:
        with path.open(encoding="utf-8-sig") as text:
            while text.read(1024 * 1024):
                pass
    except UnicodeDecodeError:
        return "cp1252", ("The text is not UTF-8; it is read as Windows-1252.",)
    return "utf-8-sig", ()


@contextmanager
def _open(path: Path, file: str, encoding: str) -> Iterator[tuple[TextIO, int]]:
    """The text and how many lines of it were skipped; faults become DatasetImportError."""
    # Windows-1252 leaves five bytes undefined.
    errors = "replace" if encoding == "cp1252" else "strict"
    try:
        with path.open(encoding=encoding, errors=errors, newline="") as text:
            first = text.readline().lower().lstrip('"')
            skipped = first.startswith("sep=")  # Excel's first line
            if not skipped:
                text.seek(0)
            yield text, int(skipped)
    except UnicodeDecodeError as error:
        raise DatasetImportError(
            f"{file} is not text in {encoding.upper()}: {error.reason}"
        ) from error
    except csv.Error as error:
        raise DatasetImportError(f"{file} is not a valid CSV table: {error}") from error


def _score(lines: Sequence[str], delimiter: str) -> tuple[int, int]:
    """The number of lines with as many fields as the header, and that number of fields."""
    counts = [len(values) for values in csv.reader(lines, delimiter=delimiter)]
    if not counts or counts[0] == 1:
        return 0, 0
    return Counter(counts)[counts[0]], counts[0]


def _name_columns(file: str, values: Sequence[str]) -> tuple[str, ...]:
    header = [value.strip() for value in values]
    while header and not header[-1]:
        header.pop()
    if not header:
        raise DatasetImportError(f"{file} is empty; the first line must name the columns")
    if len(header) > _MAX_COLUMNS:
        raise DatasetImportError(
            f"{file} has {len(header):,} columns; at most {_MAX_COLUMNS:,} are read"
        )
    for number, name in enumerate(header, 1):
        if len(name) > _MAX_NAME:  # the expressions that recognize columns are not linear
            reason = f"the name of column {number:,} has {len(name):,} characters"
            raise InvalidRowError(file, 1, f"{reason}; at most {_MAX_NAME:,} are allowed")
    # A table that pandas wrote has an index without a name.
    named = [name or f"column {number}" for number, name in enumerate(header, 1)]
    repeated = [name for name, count in Counter(named).items() if count > 1]
    if repeated:
        raise InvalidRowError(file, 1, f"column {repeated[0][:60]!r} is repeated; rename one")
    return tuple(named)


def _to_row(
    file: str,
    line: int,
    header: Sequence[str],
    values: Sequence[str],
    sign: DecimalSign | None,
    errors: RowErrors,
) -> Iterator[Row]:
    cells, more = values[: len(header)], values[len(header) :]
    if any(more):
        reason = f"{len(values)} fields, but the header has {len(header)} columns"
        errors.add(InvalidRowError(file, line, reason))
        return
    # Programs leave empty fields out at the end of a row.
    padded = [*cells, *[""] * (len(header) - len(cells))]
    yield Row(file, line, dict(zip(header, padded, strict=True)), sign)
