"""Read CSV tables, optionally gzipped, and validate each value."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, cast

from training.programs.datasets import DatasetImportError, InvalidRowError

_MAX_LINE_LENGTH = 65_536


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table by column; a missing column reads as an empty field."""

    file: str
    line: int
    fields: dict[str, str]

    def error(self, reason: str) -> InvalidRowError:
        return InvalidRowError(self.file, self.line, reason)

    def text(self, column: str) -> str:
        value = self.fields.get(column, "")
        if not value:
            raise self.error(f"{column} is empty")
        return value

    def number(self, column: str) -> float:
        """A finite number; NaN if the field is empty."""
        value = self.fields.get(column, "")
        if not value:
            return math.nan
        try:
            number = float(value)
        except ValueError:
            raise self.error(f"{column} {value!r} is not a number") from None
        if not math.isfinite(number):
            raise self.error(f"{column} {value!r} is not a finite number")
        return number

    def position(self, prefix: str = "") -> tuple[float, float] | None:
        """Latitude and longitude in degrees; None if both are empty."""
        lat, lon = self.number(f"{prefix}lat"), self.number(f"{prefix}lon")
        if math.isnan(lat) and math.isnan(lon):
            return None
        if math.isnan(lat) or math.isnan(lon):
            raise self.error(f"give both {prefix}lat and {prefix}lon, or neither")
        for column, degrees, limit in ((f"{prefix}lat", lat, 90), (f"{prefix}lon", lon, 180)):
            if abs(degrees) > limit:
                raise self.error(
                    f"{column} {degrees:g} is not between -{limit} and {limit} degrees"
                )
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
) -> Iterator[Iterator[Row]]:
    """Rows of `name` or `name`.gz in a folder, with the header checked and blank lines skipped.

    Errors while reading become DatasetImportError. `max_bytes` limits the uncompressed size.
    """
    with (
        _open_file(folder, name) as (file, binary),
        TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text,
    ):
        reader = csv.reader(_read_lines(file, text, binary, max_bytes), strict=True)
        header = [column.strip() for column in next(reader, [])]
        _check_header(file, header, required, None if allow_other_columns else optional)
        yield (_parse_row(file, reader.line_num, header, values) for values in reader if values)


def _parse_row(file: str, line: int, header: Sequence[str], values: Sequence[str]) -> Row:
    if len(values) != len(header):
        raise InvalidRowError(
            file, line, f"{len(values)} fields, but the header has {len(header)} columns"
        )
    return Row(file, line, dict(zip(header, (value.strip() for value in values), strict=True)))


@contextmanager
def _open_file(folder: Path, name: str) -> Iterator[tuple[str, BinaryIO]]:
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not found:
        raise DatasetImportError(f"{name} is missing")
    if len(found) > 1:
        raise DatasetImportError(f"both {name} and {name}.gz are present; remove one")
    path = found[0]
    try:
        with path.open("rb") as file:
            compressed = path.suffix == ".gz"
            yield path.name, cast(BinaryIO, gzip.GzipFile(fileobj=file)) if compressed else file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetImportError(f"{path.name} is not a valid gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise DatasetImportError(f"{path.name} is not UTF-8 text: {error.reason}") from error
    except csv.Error as error:
        raise DatasetImportError(f"{path.name} is not a valid CSV table: {error}") from error


def _read_lines(
    file: str, text: TextIOWrapper, binary: BinaryIO, max_bytes: float
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
    for column in header:
        if header.count(column) > 1:
            raise InvalidRowError(file, 1, f"column {column!r} is repeated")
        if optional is not None and column not in {*required, *optional}:
            known = ", ".join((*required, *optional))
            raise InvalidRowError(file, 1, f"unknown column {column!r}; allowed are {known}")
    for column in required:
        if column not in header:
            raise InvalidRowError(file, 1, f"column {column!r} is missing")
