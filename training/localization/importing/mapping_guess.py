"""Guess from names and values what the columns of a table hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

from pydantic import ValidationError

from training.localization.importing.csv_tables import Row
from training.localization.importing.mapped_table import LOCATOR, is_empty
from training.localization.importing.row_errors import RowErrors
from training.localization.importing.single_table import Table
from training.localization.table_mapping import Quantity, ReceiverColumn, TableMapping
from training.programs.measurements import COLUMNS, MeasurementError, parse_number

_ROWS = 2000
# Names of columns by what they hold, as in public data sets; the first that occurs counts.
_NAMES: dict[str, tuple[str, ...]] = {
    "lat": ("lat", "latitude", "tx_lat", "tx_latitude", "sample_lat", "true_lat", "gps_lat"),
    "lon": ("lon", "lng", "long", "longitude", "tx_lon", "tx_longitude", "sample_lon", "true_lon",
            "gps_lon"),
    "locator": ("locator", "maidenhead", "gridsquare", "grid", "qth"),
    "x_m": ("x_m", "x", "pos_x", "tx_x", "x_coord", "x_coordinate", "coord_x", "true_x", "east"),
    "y_m": ("y_m", "y", "pos_y", "tx_y", "y_coord", "y_coordinate", "coord_y", "true_y", "north"),
    "split": ("split", "subset", "fold"),
    "group": ("group", "session", "campaign", "day", "device", "run", "place", "room"),
    "sample_id": ("sample_id", "sample", "transmission", "message_id", "packet_id", "packet",
                  "msg_id", "fingerprint", "fingerprint_id", "id", "index"),
    "receiver_id": ("receiver_id", "receiver", "rx_id", "rx", "gateway_id", "gateway", "gw",
                    "anchor_id", "anchor", "station_id", "station", "ap", "bssid", "mac", "node",
                    "sensor", "sensor_id"),
    "rssi_dbm": ("rssi_dbm", "rssi", "rss", "rss_dbm", "rsrp", "rsrp_dbm", "power_dbm", "power",
                 "level", "level_dbm", "signal", "signal_dbm", "signal_strength", "strength"),
    "snr_db": ("snr_db", "snr", "lsnr", "sinr", "sinr_db"),
    "toa_ns": ("toa_ns", "toa", "arrival_ns", "time_of_arrival", "timestamp_ns"),
    "receiver_lat": ("receiver_lat", "rx_lat", "gateway_lat", "gw_lat", "anchor_lat",
                     "station_lat", "receiver_latitude", "rx_latitude"),
    "receiver_lon": ("receiver_lon", "rx_lon", "gateway_lon", "gw_lon", "anchor_lon",
                     "station_lon", "receiver_longitude", "rx_longitude"),
    "receiver_alt_m": ("receiver_alt_m", "rx_alt_m", "receiver_alt", "rx_alt", "gateway_alt"),
}  # fmt: skip
# Numbers that are not the readings of a receiver.
_OTHERS = frozenset({"z", "z_m", "alt", "alt_m", "altitude", "height", "elevation", "floor",
                     "building", "heading", "bearing", "speed", "temperature"})  # fmt: skip
_TIMES = ("time", "timestamp", "datetime", "date_time", "utc")
_QUANTITIES: dict[str, Quantity] = {
    "rssi": "rssi_dbm", "rss": "rssi_dbm", "rsrp": "rssi_dbm", "snr": "snr_db", "toa": "toa_ns",
}  # fmt: skip
_READING_NAME = re.compile(
    rf"(?:(.*)[\W_]+)?({'|'.join(_QUANTITIES)})(?![a-z])(?:[\W_]*(?:dbm|db|ns)(?![a-z]))?[\W_]*(.*)",
    re.IGNORECASE,
)
_POSITION_ROLES = ("lat", "lon", "locator", "x_m", "y_m")
_LONG_ROLES = ("rssi_dbm", "snr_db", "toa_ns", "receiver_lat", "receiver_lon", "receiver_alt_m")
# What stands for "not heard" is an extreme of the readings, and far more frequent than others.
_SILENT_SHARE, _SILENT_TIMES = 0.2, 5
# Of the values of a column of numbers; the others are mistakes.
_NUMBERS_SHARE = 0.8
_RSSI = COLUMNS["rssi_dbm"]


@dataclass(frozen=True, slots=True)
class Guess:
    """`problem` says why there is no mapping."""

    mapping: TableMapping | None
    problem: str
    notes: tuple[str, ...]


def guess_mapping(table: Table) -> Guess:
    rows = list(islice(table.read_rows(RowErrors(limit=_ROWS)), _ROWS))
    guess = _Guess(table, rows)
    try:
        mapping = guess.mapping()
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        return Guess(None, f"The columns cannot be guessed: {problem}", tuple(guess.notes))
    unread = [column for column in table.header if column not in mapping.columns()]
    if unread:
        names = ", ".join(repr(column[:40]) for column in unread[:10])
        guess.notes.append(f"Not read: {names}{' and others' if len(unread) > 10 else ''}.")
    return Guess(mapping, "", tuple(guess.notes))


class _Guess:
    def __init__(self, table: Table, rows: Sequence[Row]) -> None:
        self.notes = list(table.notes)
        self._table, self._rows = table, rows
        self._named = _match_names(table.header)
        self._known = {
            column for role, column in self._named.items() if role not in _QUANTITIES.values()
        }
        self._drop_improbable()
        self._is_long = "receiver_id" in self._named and any(
            role in self._named for role in ("rssi_dbm", "snr_db", "toa_ns")
        )

    def mapping(self) -> TableMapping:
        """Raises ValidationError where a necessary column was not found."""
        receivers = {} if self._is_long else self._receiver_columns()
        silence = self._find_silence(receivers)
        if receivers:
            receivers |= self._silent_columns(receivers, silence)
        roles = [*_POSITION_ROLES, "split", "group"]
        if self._is_long:
            roles += ["receiver_id", *_LONG_ROLES]
        return TableMapping.model_validate(
            {
                "layout": "long" if self._is_long else "wide",
                "sample_id": self._sample_id(),
                "receivers": receivers,
                "not_heard": silence,
                **{role: self._named[role] for role in roles if role in self._named},
            }
        )

    def _values(self, column: str) -> list[str]:
        return [value for row in self._rows if not is_empty(value := row.fields[column])]

    def _numbers(self, column: str) -> list[float]:
        """Empty if the column holds something else, apart from mistakes."""
        values = self._values(column)
        numbers = [number for value in values if (number := _to_number(value)) is not None]
        return numbers if len(numbers) >= _NUMBERS_SHARE * len(values) else []

    def _drop_improbable(self) -> None:
        named = self._named
        for role in ("lat", "lon", "x_m", "y_m", *_LONG_ROLES):
            if role in named and not self._numbers(named[role]):
                del named[role]
        if "locator" in named and not all(map(LOCATOR.fullmatch, self._values(named["locator"]))):
            del named["locator"]
        if "split" in named and not (
            {value.lower() for value in self._values(named["split"])} <= {"train", "val", "test"}
        ):
            del named["split"]
        # Whole groups go to one split; fewer than three cannot fill three.
        if "group" in named and len(set(self._values(named["group"]))) < 3:
            del named["group"]
        given = [names for names in (("lat", "lon"), ("x_m", "y_m"), ("locator",))
                 if all(name in named for name in names)]  # fmt: skip
        for role in set(_POSITION_ROLES) - set(given[0] if given else ()):
            named.pop(role, None)

    def _sample_id(self) -> tuple[str, ...]:
        column = self._named.get("sample_id")
        values = self._values(column) if column else []
        is_unique = len(set(values)) == len(self._rows)
        # The ID of a long table repeats; a number of each row is no sample.
        if column and values and is_unique != self._is_long:
            return (column,)
        if not self._is_long:
            return ()
        times = [name for name in self._table.header if _simplify(name) in _TIMES]
        columns = [self._named[role] for role in _POSITION_ROLES if role in self._named] + times[:1]
        names = ", ".join(repr(name) for name in columns)
        self.notes.append(f"Rows with the same {names} are one sample.")
        return tuple(columns)

    def _receiver_columns(self) -> dict[str, ReceiverColumn]:
        found: dict[str, ReceiverColumn] = {}
        for column in self._table.header:
            if column in self._known or _simplify(column) in _OTHERS:
                continue
            if not (numbers := self._numbers(column)):
                continue
            if match := _READING_NAME.fullmatch(column):
                name = match[1] or match[3] or column
                quantity = _QUANTITIES[match[2].lower()]
                found[column] = ReceiverColumn(receiver_id=name[:200], quantity=quantity)
            elif _are_signals(numbers):
                found[column] = ReceiverColumn(receiver_id=column[:200])
        return found

    def _silent_columns(
        self, receivers: dict[str, ReceiverColumn], silence: Sequence[float]
    ) -> dict[str, ReceiverColumn]:
        """Receivers that heard nothing in the rows that were looked at."""
        return {
            column: ReceiverColumn(receiver_id=column[:200])
            for column in self._table.header
            if column not in receivers
            and column not in self._known
            and (numbers := self._numbers(column))
            and set(numbers) <= set(silence)
        }

    def _find_silence(self, receivers: dict[str, ReceiverColumn]) -> list[float]:
        """Numbers that stand for "not heard" among the signal strengths."""
        columns = [name for name, one in receivers.items() if one.quantity == "rssi_dbm"]
        if self._is_long:
            columns = [self._named["rssi_dbm"]] if "rssi_dbm" in self._named else []
        counts = Counter(number for column in columns for number in self._numbers(column))
        total, silent = counts.total(), []
        for extreme in (min, max):
            while len(counts) > 1 and _is_silence(counts, value := extreme(counts)):
                share = counts.pop(value) / total
                silent.append(value)
                self.notes.append(f"{value:g} in {share:.0%} of the readings: read as not heard.")
        return silent[:10]


def _is_silence(counts: Counter[float], value: float) -> bool:
    """Whether an extreme of the readings is outside what is received, or stands out by far."""
    if not _RSSI.minimum <= value <= _RSSI.maximum:
        return True
    others = max(count for number, count in counts.items() if number != value)
    stands_out = counts[value] > max(_SILENT_SHARE * counts.total(), _SILENT_TIMES * others)
    return stands_out and (value >= 0 or value == min(counts))


def _match_names(header: Sequence[str]) -> dict[str, str]:
    """Column by role; a column has one role."""
    simplified = {_simplify(column): column for column in reversed(header)}
    named: dict[str, str] = {}
    for role, names in _NAMES.items():
        column = next((simplified[name] for name in names if name in simplified), None)
        if column is not None and column not in named.values():
            named[role] = column
    return named


def _to_number(text: str) -> float | None:
    try:
        return parse_number("value", text.replace(",", "."))
    except MeasurementError:
        return None


def _simplify(column: str) -> str:
    """`Latitude (deg)` as `latitude`."""
    without_unit = re.sub(r"[(\[].*?[)\]]", "", column)
    return re.sub(r"\W+", "_", without_unit.strip().lower()).strip("_")


def _are_signals(numbers: Sequence[float]) -> bool:
    readings = [number for number in numbers if _RSSI.minimum <= number < 0]
    return bool(readings) and median(readings) <= -1
