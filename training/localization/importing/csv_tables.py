"""Read CSV tables, optionally gzipped, and validate each value."""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from io import BufferedReader, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

from heimdall_sdk.text import TextError, normalize_name
from training.localization.importing.row_errors import RowErrors
from training.programs.datasets import DatasetImportError, InvalidRowError
from training.programs.measurements import (
    MAX_ID_LENGTH,
    MeasurementError,
    parse_arrival,
    parse_number,
)

if TYPE_CHECKING:
    from _csv import Reader as CSVReader

_MAX_LINE_LENGTH = 65_536
_DELIMITERS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"\ufeff?\"?sep=([,;\t])\"?\s*", re.IGNORECASE)  # Excel's first line
_NUMERIC = re.compile(r"[+-]?[0-9.,]+(?:[eE][+-]?[0-9]+)?")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class DecimalSign:
    """The decimal sign of a table whose fields are not separated by commas."""

    def __init__(self) -> None:
        self._found = ""

    def with_point(self, text: str) -> str:
        """The number as written with a point; raises MeasurementError if a table has both signs."""
        signs = {sign for sign in ",." if sign in text}
        # What is no number is reported as it was written.
        if len(signs) == 1 and _NUMERIC.fullmatch(text):
            sign = signs.pop()
            if self._found not in ("", sign):
                raise MeasurementError(
                    f"{text!r}: earlier numbers of the table have {self._found!r} before the "
                    f"decimals; use one sign throughout"
                )
            self._found = sign
            return text.replace(",", ".")
        return text


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table by column; a missing column reads as an empty field."""

    file: str
    line: int
    fields: dict[str, str]
    decimal_sign: DecimalSign | None = field(default=None, repr=False, compare=False)

    def error(self, reason: str) -> InvalidRowError:
        return InvalidRowError(self.file, self.line, reason)

    def name(self, column: str) -> str:
        """An ID or another name, normalized."""
        value = self.fields.get(column, "")
        if not value:
            raise self.error(f"{column} is empty")
        if len(value) > MAX_ID_LENGTH:
            raise self.error(
                f"{column} {value[:40]!r}… has {len(value)} characters; at most {MAX_ID_LENGTH}"
            )
        try:
            return normalize_name(value)
        except TextError as error:
            raise self.error(f"{column} {value!r} {error}") from None

    def number(self, column: str) -> float:
        """NaN if the field is empty."""
        if not self.fields.get(column, ""):
            return math.nan
        try:
            return parse_number(column, self._with_point(column))
        except MeasurementError as error:
            raise self.error(str(error)) from None

    def arrival(self) -> Decimal | None:
        if not self.fields.get("toa_ns", ""):
            return None
        try:
            return parse_arrival(self._with_point("toa_ns"))
        except MeasurementError as error:
            raise self.error(str(error)) from None

    def with_points(self) -> Row:
        """The row with points before the decimals; a number with another sign stays as it is."""
        fields = dict(self.fields)
        for column in fields:
            with suppress(MeasurementError):
                fields[column] = self._with_point(column)
        return Row(self.file, self.line, fields)

    def _with_point(self, column: str) -> str:
        text = self.fields[column]
        return self.decimal_sign.with_point(text) if self.decimal_sign else text

    def position(self, prefix: str = "") -> tuple[float, float] | None:
        lat, lon = self.number(f"{prefix}lat"), self.number(f"{prefix}lon")
        if math.isnan(lat) and math.isnan(lon):
            return None
        if math.isnan(lat) or math.isnan(lon):
            raise self.error(f"give both {prefix}lat and {prefix}lon, or neither")
        return lat, lon


@contextmanager
def open_table(
    folder: Path,
    name: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    allow_other_columns: bool = False,
    max_bytes: float = math.inf,
    errors: RowErrors | None = None,
) -> Iterator[Iterator[Row]]:
    """Rows of `name` or `name`.gz in a folder, with the header checked and blank lines skipped.

    Errors while reading become DatasetImportError; `errors` gets the rows that are not as long as
    the header. `max_bytes` limits the uncompressed size.
    Fields are separated by commas, or by semicolons or tabs as Excel writes them where the comma
    stands before the decimals.
    """
    with (
        _open_file(folder, name) as (file, binary),
        TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text,
    ):
        lines = _read_lines(file, text, binary, max_bytes)
        first = next(lines, "")
        if separator := _SEPARATOR_LINE.fullmatch(first):
            delimiter, skipped = separator[1], 1
        else:
            delimiter, skipped = _find_delimiter(first, required), 0
            lines = chain([first], lines)
        reader = csv.reader(lines, strict=True, delimiter=delimiter)
        header = _read_header(next(reader, []), required, optional)
        _check_header(file, header, required, None if allow_other_columns else optional)
        sign = None if delimiter == "," else DecimalSign()
        yield _read_rows(file, reader, skipped, header, sign, errors or RowErrors())


def _find_delimiter(first: str, required: Sequence[str]) -> str:
    """The delimiter that splits the header into the most of the required columns."""

    def count(delimiter: str) -> int:
        found = {column.strip(' "\r\n').lower() for column in first.split(delimiter)}
        return len(found.intersection(required))

    return max(_DELIMITERS, key=count)


def _read_header(
    values: Sequence[str], required: Sequence[str], optional: Sequence[str]
) -> list[str]:
    """The columns, without empty ones at the end; known ones in lower case."""
    known = {*required, *optional, "split", "group"}
    header = [value.strip() for value in values]
    while header and not header[-1]:
        header.pop()
    return [column.lower() if column.lower() in known else column for column in header]


def _read_rows(
    file: str,
    reader: CSVReader,
    skipped: int,
    header: Sequence[str],
    sign: DecimalSign | None,
    errors: RowErrors,
) -> Iterator[Row]:
    for values in reader:
        if any(value and not value.isspace() for value in values):
            try:
                row = _parse_row(file, reader.line_num + skipped, header, values, sign)
            except InvalidRowError as error:
                errors.add(error)
            else:
                yield row


def _parse_row(
    file: str, line: int, header: Sequence[str], values: Sequence[str], sign: DecimalSign | None
) -> Row:
    cells, more = values[: len(header)], values[len(header) :]
    if len(cells) < len(header) or any(value.strip() for value in more):
        raise InvalidRowError(
            file, line, f"{len(values)} fields, but the header has {len(header)} columns"
        )
    fields = dict(zip(header, (value.strip() for value in cells), strict=True))
    return Row(file, line, fields, sign)


@contextmanager
def _open_file(folder: Path, name: str) -> Iterator[tuple[str, BufferedReader]]:
    names = (name, f"{name}.gz")
    try:
        found = sorted(path for path in folder.iterdir() if path.name.lower() in names)
    except OSError as error:
        raise DatasetImportError(f"the folder cannot be read: {error.strerror}") from error
    if not found:
        raise DatasetImportError(f"{name} is missing")
    if len(found) > 1:
        both = " and ".join(path.name for path in found)
        raise DatasetImportError(f"both {both} are present; remove one")
    path = found[0]
    try:
        with path.open("rb") as file:
            compressed = path.suffix.lower() == ".gz"
            binary = cast(BufferedReader, gzip.GzipFile(fileobj=file)) if compressed else file
            start = binary.peek(4)[:4]
            if start.startswith(_UTF_16) or b"\0" in start:
                raise DatasetImportError(
                    f"{path.name} is UTF-16 text, not UTF-8; save it again as “CSV UTF-8”"
                )
            yield path.name, binary
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetImportError(f"{path.name} is not a valid gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise DatasetImportError(
            f"{path.name} is not UTF-8 text: {error.reason} (0x{error.object[error.start]:02X}). "
            "Excel and Windows may write Windows-1252; save it again as “CSV UTF-8”"
        ) from error
    except csv.Error as error:
        raise DatasetImportError(f"{path.name} is not a valid CSV table: {error}") from error


def _read_lines(
    file: str, text: TextIOWrapper, binary: BufferedReader, max_bytes: float
) -> Iterator[str]:
    # Limit each line and the total size, because a small file may decompress to a huge one.
    count = 0
    while line := text.readline(_MAX_LINE_LENGTH):
        count += 1
        if len(line) == _MAX_LINE_LENGTH:
            raise InvalidRowError(
                file, count, f"the line is longer than {_MAX_LINE_LENGTH:,} characters"
            )
        if binary.tell() > max_bytes:
            raise DatasetImportError(f"{file} decompresses to more than {max_bytes:,} bytes")
        yield line


def _check_header(
    file: str, header: list[str], required: Sequence[str], optional: Sequence[str] | None
) -> None:
    # `optional` None: other columns are allowed and ignored.
    if not header:
        raise DatasetImportError(f"{file} is empty; the first line must name the columns")
    repeated = {column for column, count in Counter(header).items() if count > 1}
    for column in header:
        if column in repeated:
            raise InvalidRowError(file, 1, f"column {column!r} is repeated")
        if optional is not None and column not in {*required, *optional}:
            known = ", ".join((*required, *optional))
            raise InvalidRowError(
                file, 1, f"unknown column {column[:100]!r}; allowed are {known}{_hint(column)}"
            )
    for column in required:
        if column not in header:
            raise InvalidRowError(file, 1, f"column {column!r} is missing")


def _hint(column: str) -> str:
    if any(delimiter in column for delimiter in (" ", "|", *_DELIMITERS)):
        return "; separate the columns by commas"
    return ""
