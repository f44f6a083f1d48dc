"""Tables as people hand them in: CSV, perhaps packed, each value checked where it stands."""

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

_LONGEST_LINE = 65_536


class DatasetImportError(ValueError):
    """What was handed in cannot be imported; the message says what, where and why."""


class InvalidRowError(DatasetImportError):
    """One row is wrong."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file} line {line}: {reason}")
        self.file, self.line, self.reason = file, line, reason


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, by column; an absent column reads as an empty field."""

    file: str
    line: int
    fields: dict[str, str]

    def bad(self, reason: str) -> InvalidRowError:
        return InvalidRowError(self.file, self.line, reason)

    def text(self, column: str) -> str:
        """A field that must not be empty."""
        value = self.fields.get(column, "")
        if not value:
            raise self.bad(f"{column} is empty")
        return value

    def optional(self, column: str) -> str | None:
        return self.fields.get(column) or None

    def number(self, column: str) -> float:
        """A finite number; NaN where the field is empty."""
        value = self.fields.get(column, "")
        if not value:
            return math.nan
        try:
            number = float(value)
        except ValueError:
            raise self.bad(f"{column} {value!r} is not a number") from None
        if not math.isfinite(number):
            raise self.bad(f"{column} {value!r} is not a finite number")
        return number

    def place(self, prefix: str = "") -> tuple[float, float] | None:
        """Latitude and longitude in degrees; None where both are empty."""
        lat, lon = self.number(f"{prefix}lat"), self.number(f"{prefix}lon")
        if math.isnan(lat) and math.isnan(lon):
            return None
        if math.isnan(lat) or math.isnan(lon):
            raise self.bad(f"{prefix}lat and {prefix}lon belong together: give both or neither")
        for column, degrees, limit in ((f"{prefix}lat", lat, 90), (f"{prefix}lon", lon, 180)):
            if abs(degrees) > limit:
                raise self.bad(f"{column} {degrees:g} is not within -{limit} and {limit} degrees")
        return lat, lon


@contextmanager
def table(
    folder: Path,
    name: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    more_allowed: bool = False,
    max_bytes: float = math.inf,
) -> Iterator[Iterator[Row]]:
    """The rows of `name` or `name`.gz in a folder, the header checked, blank lines passed over.

    What goes wrong while they are read is told as an DatasetImportError, and the file is closed.
    """
    with (
        _opened(folder, name) as (file, binary),
        TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text,
    ):
        reader = csv.reader(_lines(file, text, binary, max_bytes), strict=True)
        header = [column.strip() for column in next(reader, [])]
        _check_header(file, header, required, None if more_allowed else optional)
        yield (_row(file, reader.line_num, header, values) for values in reader if values)


def _row(file: str, line: int, header: Sequence[str], values: Sequence[str]) -> Row:
    if len(values) != len(header):
        raise InvalidRowError(
            file, line, f"{len(values)} fields where the header has {len(header)}"
        )
    return Row(file, line, dict(zip(header, (value.strip() for value in values), strict=True)))


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[tuple[str, BinaryIO]]:
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if len(found) != 1:
        raise DatasetImportError(
            f"{name} and {name}.gz are both there; leave one" if found else f"{name} is missing"
        )
    path = found[0]
    try:
        with path.open("rb") as file:
            packed = path.suffix == ".gz"
            yield path.name, cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetImportError(f"{path.name} cannot be unpacked: {error}") from error
    except UnicodeDecodeError as error:
        raise DatasetImportError(f"{path.name} is not UTF-8 text: {error.reason}") from error
    except csv.Error as error:
        raise DatasetImportError(f"{path.name} is not a CSV table: {error}") from error


def _lines(file: str, text: TextIOWrapper, binary: BinaryIO, max_bytes: float) -> Iterator[str]:
    """Line by line and never more than the limits, for a small file can unpack to a huge one."""
    count = 0
    while line := text.readline(_LONGEST_LINE):
        count += 1
        if len(line) == _LONGEST_LINE:
            raise InvalidRowError(
                file, count, f"the line is longer than {_LONGEST_LINE:,} characters"
            )
        if binary.tell() > max_bytes:
            raise DatasetImportError(f"{file} unpacks to more than {max_bytes:,} bytes")
        yield line


def _check_header(
    file: str, header: list[str], required: Sequence[str], optional: Sequence[str] | None
) -> None:
    """`optional` None: any further column is allowed, and passed over."""
    if not header:
        raise DatasetImportError(f"{file} is empty; its first line names the columns")
    for column in header:
        if header.count(column) > 1:
            raise InvalidRowError(file, 1, f"column {column!r} is there twice")
        if optional is not None and column not in {*required, *optional}:
            known = ", ".join((*required, *optional))
            raise InvalidRowError(file, 1, f"column {column!r} is unknown; known are {known}")
    for column in required:
        if column not in header:
            raise InvalidRowError(file, 1, f"column {column!r} is missing")
