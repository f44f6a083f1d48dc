"""Tables of metrics: one run with a column for each metric, or runs with a row for each value."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from heimdall_sdk.importing.metric_table import MetricTable
from heimdall_sdk.importing.runs import Omissions, RecordedRun, UnreadableError, identify
from heimdall_sdk.reporter import PointTuple

STEP_COLUMNS = ("step", "global_step", "_step", "iteration", "iter", "epoch")
TIME_COLUMNS = ("time", "timestamp", "wall_time", "wall time", "_timestamp", "at", "date")
EPOCH = "epoch"
# Of a table with a row for each value.
RUN_COLUMNS = ("run", "run_id", "run_name", "run name")
METRIC_COLUMNS = ("metric", "metric_name", "key", "tag", "name")
VALUE = "value"
# Of Heimdall's own export; the last two are derived from the others.
EXPORTED = ["epoch", "at", "seconds", "is_best"]
_MILLISECONDS_FROM = 1e11  # later than the year 5000 in seconds


def read_csv(path: Path, step_column: str | None = None) -> list[RecordedRun]:
    columns, first_row = _header(path)
    table = _Table(path, columns, step_column)
    lower = [column.strip().lower() for column in columns]
    metric = next((lower.index(name) for name in METRIC_COLUMNS if name in lower), None)
    if metric is not None and VALUE in lower:
        return table.runs_of_values(metric, lower.index(VALUE))
    run = RecordedRun(
        source=path,
        identity=identify("csv", str(path.resolve()), "\0".join(columns), "\0".join(first_row)),
        name=path.stem,
        read_points=table.points,
        notes=f"Imported from {path.name}.",
    )
    return [run]


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
        self._run = next((lower.index(name) for name in RUN_COLUMNS if name in lower), None)
        self._epoch = lower.index(EPOCH) if EPOCH in lower else None
        self._time = next((lower.index(name) for name in TIME_COLUMNS if name in lower), None)
        reserved = {self._step, self._epoch, self._time}
        if lower[: len(EXPORTED)] == EXPORTED:
            reserved |= {2, 3}
        self._metrics = [
            (position, _metric_name(name)) for position, name in enumerate(columns)
            if position not in reserved and name.strip()
        ]  # fmt: skip

    def points(self, omissions: Omissions) -> Iterator[PointTuple]:
        time = 0.0
        if self._time is None:
            omissions.add("the times of the steps: the table has no column of times")
        for line, row in _rows(self._path):
            values = dict(self._values(row, omissions))
            step = self._integer(line, row, self._step)
            if step is None or not values:
                omissions.add("rows without a step or a number")
                continue
            time = self._seconds(row, time, omissions)
            yield step, time, self._epoch_of(row, omissions), values

    def runs_of_values(self, metric: int, value: int) -> list[RecordedRun]:
        """A run for each name in the column of runs; of all rows, if there is none."""
        time = 0.0
        tables: dict[str, MetricTable] = {}
        omitted: dict[str, Omissions] = {}
        for line, row in _rows(self._path):
            run = _cell(row, self._run) or self._path.stem
            table = tables.setdefault(run, MetricTable())
            omissions = omitted.setdefault(run, Omissions())
            name, step = _metric_name(_cell(row, metric)), self._integer(line, row, self._step)
            try:
                number = float(_cell(row, value))
            except ValueError:
                number = None
            if step is None or not name or number is None:
                omissions.add("rows without a step, a metric or a number")
                continue
            time = self._seconds(row, time, omissions)
            try:
                table.add(name, step, time, number, self._epoch_of(row, omissions))
            except OverflowError:
                raise UnreadableError(
                    f"{self._path}, line {line}: the step or epoch is too large."
                ) from None
        return [
            RecordedRun(
                source=self._path,
                identity=identify("csv", str(self._path.resolve()), run),
                name=run,
                read_points=partial(_points_of, table),
                project=self._path.stem if self._run is not None else None,
                notes=f"Imported from {self._path.name}.",
                omissions=omitted[run],
            )
            for run, table in tables.items()
        ]

    def _values(self, row: list[str], omissions: Omissions) -> Iterator[tuple[str, float]]:
        for position, name in self._metrics:
            cell = _cell(row, position)
            if not cell:
                continue
            try:
                yield name, float(cell)
            except ValueError:
                omissions.add(f"text in the column {name!r}")

    def _integer(self, line: int, row: list[str], position: int) -> int | None:
        cell = _cell(row, position)
        if not cell:
            return None
        number = _whole(cell)
        if number is None:
            raise UnreadableError(
                f"{self._path}, line {line}: the step is {cell!r}, not a whole number of at "
                "least 0."
            )
        return number

    def _epoch_of(self, row: list[str], omissions: Omissions) -> int | None:
        cell = _cell(row, self._epoch)
        epoch = _whole(cell) if cell else None
        if cell and epoch is None:
            omissions.add("epochs that are not whole numbers")
        return epoch

    def _seconds(self, row: list[str], default: float, omissions: Omissions) -> float:
        """The time of the row, else of the previous row: stable when the table grows."""
        cell = _cell(row, self._time)
        if not cell:
            return default
        seconds = _timestamp(cell)
        if seconds is None:
            omissions.add("times that cannot be read")
            return default
        return seconds


def _points_of(table: MetricTable, _omissions: Omissions) -> Iterator[PointTuple]:
    return table.points()


def _cell(row: list[str], position: int | None) -> str:
    return row[position].strip() if position is not None and position < len(row) else ""


def _metric_name(cell: str) -> str:
    """Remove the quote that exports write before text that looks like a formula."""
    name = cell.strip()
    return name[1:] if name[:1] == "'" and name[1:2] in ("=", "+", "-", "@") else name


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
