"""A table of metrics: one row a step, one column a metric."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from heimdall_sdk.importing.runs import Omissions, RecordedRun, UnreadableError, identify
from heimdall_sdk.reporter import PointTuple

STEP_COLUMNS = ("step", "global_step", "_step", "iteration", "iter", "epoch")
TIME_COLUMNS = ("time", "timestamp", "wall_time", "wall time", "_timestamp", "at", "date")
EPOCH = "epoch"
# Of Heimdall's own export; the last two are derived from the others.
EXPORTED = ["epoch", "at", "seconds", "is_best"]
_MILLISECONDS_FROM = 1e11  # later than the year 5000 in seconds


def read_csv(path: Path, step_column: str | None = None) -> RecordedRun:
    columns, first_row = _header(path)
    table = _Table(path, columns, step_column)
    return RecordedRun(
        source=path,
        identity=identify("csv", str(path.resolve()), "\0".join(columns), "\0".join(first_row)),
        name=path.stem,
        read_points=table.points,
        notes=f"Imported from {path.name}.",
    )


class _Table:
    def __init__(self, path: Path, columns: Sequence[str], step_column: str | None) -> None:
        self._path = path
        lower = [column.strip().lower() for column in columns]
        if step_column is not None:
            if step_column not in columns:
                raise UnreadableError(
                    f"{path} has no column {step_column!r}; it has {_names(columns)}."
                )
            self._step = list(columns).index(step_column)
        else:
            found = [lower.index(name) for name in STEP_COLUMNS if name in lower]
            if not found:
                raise UnreadableError(
                    f"{path} has no column of steps (step or epoch); it has {_names(columns)}. "
                    "Name it with --step."
                )
            self._step = found[0]
        self._epoch = lower.index(EPOCH) if EPOCH in lower else None
        self._time = next((lower.index(name) for name in TIME_COLUMNS if name in lower), None)
        reserved = {self._step, self._epoch, self._time}
        if lower[: len(EXPORTED)] == EXPORTED:
            reserved |= {2, 3}
        self._metrics = [
            (position, name.strip()) for position, name in enumerate(columns)
            if position not in reserved and name.strip()
        ]  # fmt: skip

    def points(self, omissions: Omissions) -> Iterator[PointTuple]:
        modified = self._path.stat().st_mtime
        if self._time is None:
            omissions.add("the times of the steps: the table has no column of times")
        for line, row in _rows(self._path):
            values = dict(self._values(row, omissions))
            step = self._integer(line, row, self._step)
            if step is None or not values:
                omissions.add("rows without a step or a number")
                continue
            epoch = None
            if self._epoch is not None and self._epoch < len(row) and row[self._epoch].strip():
                epoch = _whole(row[self._epoch])
                if epoch is None:
                    omissions.add("epochs that are not whole numbers")
            yield step, self._seconds(row, modified, omissions), epoch, values

    def _values(self, row: list[str], omissions: Omissions) -> Iterator[tuple[str, float]]:
        for position, name in self._metrics:
            cell = row[position].strip() if position < len(row) else ""
            if not cell:
                continue
            try:
                yield name, float(cell)
            except ValueError:
                omissions.add(f"text in the column {name!r}")

    def _integer(self, line: int, row: list[str], position: int) -> int | None:
        cell = row[position].strip() if position < len(row) else ""
        if not cell:
            return None
        number = _whole(cell)
        if number is None:
            raise UnreadableError(
                f"{self._path}, line {line}: the step is {cell!r}, not a whole number of at "
                "least 0."
            )
        return number

    def _seconds(self, row: list[str], default: float, omissions: Omissions) -> float:
        cell = row[self._time].strip() if self._time is not None and self._time < len(row) else ""
        if not cell:
            return default
        seconds = _timestamp(cell)
        if seconds is None:
            omissions.add("times that cannot be read")
            return default
        return seconds


def _header(path: Path) -> tuple[list[str], list[str]]:
    rows = _lines(path)
    columns = next(rows, (0, []))[1]
    if not columns:
        raise UnreadableError(f"{path} is empty.")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise UnreadableError(f"{path} has several columns {twice[0]!r}; rename all but one.")
    return columns, next(rows, (0, []))[1]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    rows = _lines(path)
    next(rows, None)
    yield from rows


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the number of their last line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path} is not text in UTF-8 ({error.reason}).") from error
    except (OSError, csv.Error) as error:
        raise UnreadableError(f"{path} cannot be read ({error}).") from error


def _whole(cell: str) -> int | None:
    try:
        return int(cell) if cell.strip().isdigit() else _from_float(float(cell))
    except ValueError:
        return None


def _from_float(number: float) -> int | None:
    return int(number) if number >= 0 and math.isfinite(number) and number.is_integer() else None


def _timestamp(cell: str) -> float | None:
    """Seconds or milliseconds since 1970, or ISO 8601."""
    try:
        number = float(cell)
    except ValueError:
        try:
            found = datetime.fromisoformat(cell.replace("Z", "+00:00"))
        except ValueError:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
    if not math.isfinite(number):
        return None
    return number / 1000 if number >= _MILLISECONDS_FROM else number


def _names(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:8])
    return shown if len(columns) <= 8 else f"{shown}, …"
