"""Guess from names and values what the columns of a table hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

from pydantic import ValidationError

from training.localization.importing.mapped_table import is_empty
from training.localization.importing.row_errors import RowErrors
from training.localization.importing.single_table import Table
from training.localization.maidenhead import LOCATOR
from training.localization.table_mapping import Quantity, ReceiverColumn, TableMapping
from training.localization.utm import ZONE
from training.programs.measurements import COLUMNS, MeasurementError, parse_number

_ROWS = 2000
# Names of columns by what they hold, as in public data sets; the first that occurs counts.
_NAMES: dict[str, tuple[str, ...]] = {
    "lat": ("lat", "latitude", "tx_lat", "tx_latitude", "sample_lat", "true_lat", "gps_lat"),
    "lon": ("lon", "lng", "long", "longitude", "tx_lon", "tx_longitude", "sample_lon", "true_lon",
            "gps_lon"),
    "locator": ("locator", "maidenhead", "gridsquare", "grid", "qth"),
    "x_m": ("x_m", "x", "pos_x", "tx_x", "x_coord", "x_coordinate", "coord_x", "true_x", "east",
            "ecoord", "coord_e", "position_x", "loc_x"),
    "y_m": ("y_m", "y", "pos_y", "tx_y", "y_coord", "y_coordinate", "coord_y", "true_y", "north",
            "ncoord", "coord_n", "position_y", "loc_y"),
    "easting": ("easting", "utm_easting", "utm_e", "utm_x", "x_utm", "e_utm"),
    "northing": ("northing", "utm_northing", "utm_n", "utm_y", "y_utm", "n_utm"),
    "zone": ("utm_zone", "zone_utm", "zone"),
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
    "toa_ns": ("toa_ns", "toa", "arrival_ns", "arrival_time", "time_of_arrival", "timestamp_ns"),
    "receiver_lat": ("receiver_lat", "rx_lat", "gateway_lat", "gw_lat", "anchor_lat",
                     "station_lat", "receiver_latitude", "rx_latitude"),
    "receiver_lon": ("receiver_lon", "rx_lon", "gateway_lon", "gw_lon", "anchor_lon",
                     "station_lon", "receiver_longitude", "rx_longitude"),
    "receiver_x_m": ("receiver_x_m", "rx_x_m", "receiver_x", "rx_x", "gateway_x", "anchor_x",
                     "station_x", "receiver_easting", "rx_easting"),
    "receiver_y_m": ("receiver_y_m", "rx_y_m", "receiver_y", "rx_y", "gateway_y", "anchor_y",
                     "station_y", "receiver_northing", "rx_northing"),
    "receiver_alt_m": ("receiver_alt_m", "rx_alt_m", "receiver_alt", "rx_alt", "gateway_alt"),
}  # fmt: skip
# Numbers that are not the readings of a receiver.
_OTHERS = frozenset({"z", "z_m", "alt", "alt_m", "altitude", "height", "elevation", "floor",
                     "building", "heading", "bearing", "speed", "temperature"})  # fmt: skip
_TIMES = ("time", "timestamp", "datetime", "date_time", "utc")
QUANTITIES: dict[str, Quantity] = {
    "rssi": "rssi_dbm", "rss": "rssi_dbm", "rsrp": "rssi_dbm", "snr": "snr_db", "toa": "toa_ns",
}  # fmt: skip
READING_NAME = re.compile(
    rf"(?:(.*)[\W_]+)?({'|'.join(QUANTITIES)})(?![a-z])(?:[\W_]*(?:dbm|db|ns)(?![a-z]))?[\W_]*(.*)",
    re.IGNORECASE,
)
_POSITIONS = (("lat", "lon"), ("easting", "northing", "zone"), ("x_m", "y_m"), ("locator",))
_POSITION_ROLES = sum(_POSITIONS, ())
_RECEIVER_METERS = ("receiver_x_m", "receiver_y_m")
_LONG_ROLES = ("rssi_dbm", "snr_db", "toa_ns", "receiver_lat", "receiver_lon", "receiver_alt_m")
# What stands for "not heard" is an extreme of the readings, and far more frequent than others.
_SILENT_SHARE, _SILENT_TIMES = 0.2, 5
# Of the values of a column of numbers; the others are mistakes.
_NUMBERS_SHARE = 0.8
_FAR_METERS, _MAX_DEGREES = 100_000.0, 1000.0
_RSSI = COLUMNS["rssi_dbm"]


@dataclass(frozen=True, slots=True)
class Guess:
    """`problem` says why there is no mapping."""

    mapping: TableMapping | None
    problem: str
    notes: tuple[str, ...]


def guess_mapping(table: Table) -> Guess:
    guess = Guesser(table)
    try:
        mapping = guess.mapping()
    except ValidationError as error:
        return Guess(None, describe_problem(error), tuple(guess.notes))
    unread = [column for column in table.header if column not in mapping.columns()]
    if unread:
        names = ", ".join(repr(column[:40]) for column in unread[:10])
        guess.notes.append(f"Not read: {names}{' and others' if len(unread) > 10 else ''}.")
    return Guess(mapping, "", tuple(guess.notes))


def describe_problem(error: ValidationError) -> str:
    """The reason why a mapping is incomplete."""
    problem = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return f"The columns cannot be guessed: {problem}"


class Guesser:
    """Guesses from the first rows of a table."""

    def __init__(self, table: Table) -> None:
        self.notes = list(table.notes)
        self._table = table
        self._rows = list(islice(table.read_rows(RowErrors(limit=_ROWS)), _ROWS))
        self._named = _match_names(table.header)
        self._known = {
            column for role, column in self._named.items() if role not in QUANTITIES.values()
        }
        self._drop_improbable()
        self._is_long = "receiver_id" in self._named and any(
            role in self._named for role in ("rssi_dbm", "snr_db", "toa_ns")
        )

    def mapping(self) -> TableMapping:
        """Raises ValidationError where a necessary column was not found."""
        receivers = _RECEIVER_METERS if self._is_long else ()
        return TableMapping.model_validate(
            self._fields((*_POSITION_ROLES, *receivers, "split", "group"))
        )

    def _fields(self, roles: Sequence[str] = ()) -> dict[str, object]:
        """The columns of a mapping; `roles` are those besides readings."""
        receivers = {} if self._is_long else self._receiver_columns()
        silence = self._find_silence(receivers)
        if receivers:
            receivers |= self._silent_columns(receivers, silence)
        if self._is_long:
            roles = (*roles, "receiver_id", *_LONG_ROLES)
        return {
            "layout": "long" if self._is_long else "wide",
            "sample_id": self._sample_id(),
            "receivers": receivers,
            "not_heard": silence,
            **{role: self._named[role] for role in roles if role in self._named},
            **({"offset_m": offset} if "x_m" in roles and (offset := self._find_offset()) else {}),
        }

    def _values(self, column: str) -> list[str]:
        return [value for row in self._rows if not is_empty(value := row.fields[column])]

    def _numbers(self, column: str) -> list[float]:
        """Empty if the column holds something else, apart from mistakes."""
        values = self._values(column)
        numbers = [number for value in values if (number := _to_number(value)) is not None]
        return numbers if len(numbers) >= _NUMBERS_SHARE * len(values) else []

    def _drop_improbable(self) -> None:
        named = self._named
        for role in (
            "lat", "lon", "x_m", "y_m", "easting", "northing", *_LONG_ROLES, *_RECEIVER_METERS
        ):  # fmt: skip
            if role in named and not self._numbers(named[role]):
                del named[role]
        if "zone" in named and not all(map(ZONE.fullmatch, self._values(named["zone"]))):
            del named["zone"]
        self._take_as_meters()
        if "locator" in named and not all(map(LOCATOR.fullmatch, self._values(named["locator"]))):
            del named["locator"]
        if "split" in named and not (
            {value.lower() for value in self._values(named["split"])} <= {"train", "val", "test"}
        ):
            del named["split"]
        # Whole groups go to one split; fewer than three cannot fill three.
        if "group" in named and len(set(self._values(named["group"]))) < 3:
            del named["group"]
        given = [names for names in _POSITIONS if all(name in named for name in names)]
        for role in set(_POSITION_ROLES) - set(given[0] if given else ()):
            named.pop(role, None)
        in_meters = "x_m" in named or "easting" in named
        if not in_meters or "receiver_lat" in named or not {*_RECEIVER_METERS} <= named.keys():
            for role in _RECEIVER_METERS:
                named.pop(role, None)

    def _take_as_meters(self) -> None:
        """Latitudes and longitudes that are not degrees, and UTM without a zone, are meters."""
        named = self._named
        pairs = []
        if {"lat", "lon"} <= named.keys() and self._are_meters(named["lat"], named["lon"]):
            pairs.append((named.pop("lon"), named.pop("lat")))
            self.notes.append(
                f"{pairs[0][1]!r} and {pairs[0][0]!r} are not degrees: read as meters."
            )
        if {"easting", "northing"} <= named.keys() and "zone" not in named and "lat" not in named:
            pairs.append((named.pop("easting"), named.pop("northing")))
            self.notes.append(
                f"{pairs[-1][0]!r} and {pairs[-1][1]!r} are read as meters without a place on the "
                "globe; for one, name them easting and northing in the mapping, with utm_zone."
            )
        if pairs and not {"x_m", "y_m"} & named.keys():
            named["x_m"], named["y_m"] = pairs[0]

    def _are_meters(self, *columns: str) -> bool:
        """Whether the numbers are far too large for degrees, which may be in the wrong column."""
        return any(median(map(abs, self._numbers(column))) > _MAX_DEGREES for column in columns)

    def _find_offset(self) -> list[float]:
        """The middle of meters that are far from 0, where the plane of `origin` is not valid."""
        if not {"x_m", "y_m"} <= self._named.keys():
            return []
        middle = [median(self._numbers(self._named[role])) for role in ("x_m", "y_m")]
        if max(map(abs, middle)) < _FAR_METERS:
            return []
        offset = [round(value, -3) for value in middle]
        self.notes.append(
            f"x_m and y_m are far from 0: counted from {offset[0]:,.0f} and {offset[1]:,.0f} m."
        )
        return offset

    def _sample_id(self) -> tuple[str, ...]:
        column = self._named.get("sample_id")
        values = self._values(column) if column else []
        is_unique = len(set(values)) == len(self._rows)
        # The ID of a long table repeats; a number of each row is no sample.
        if column and values and is_unique != self._is_long:
            return (column,)
        if not self._is_long:
            return ()
        times = self._time_columns()[:1]
        columns = [self._named[role] for role in _POSITION_ROLES if role in self._named] + times
        names = ", ".join(repr(name) for name in columns)
        self.notes.append(f"Rows with the same {names} are one sample.")
        return tuple(columns)

    def _time_columns(self) -> list[str]:
        return [name for name in self._table.header if simplify(name) in _TIMES]

    def _receiver_columns(self) -> dict[str, ReceiverColumn]:
        found: dict[str, ReceiverColumn] = {}
        for column in self._table.header:
            if column in self._known or simplify(column) in _OTHERS:
                continue
            if not (numbers := self._numbers(column)):
                continue
            if match := READING_NAME.fullmatch(column):
                name = match[1] or match[3] or column
                quantity = QUANTITIES[match[2].lower()]
                found[column] = ReceiverColumn(receiver_id=name[:200], quantity=quantity)
            elif _are_signals(numbers):
                found[column] = ReceiverColumn(receiver_id=column[:200])
        return found

    def _silent_columns(
        self, receivers: dict[str, ReceiverColumn], silence: Sequence[float]
    ) -> dict[str, ReceiverColumn]:
        """Receivers that heard nothing in the examined rows."""
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
    """Whether an extreme of the readings is implausible or an outlier."""
    if not _RSSI.minimum <= value <= _RSSI.maximum:
        return True
    others = max(count for number, count in counts.items() if number != value)
    stands_out = counts[value] > max(_SILENT_SHARE * counts.total(), _SILENT_TIMES * others)
    return stands_out and (value >= 0 or value == min(counts))


def _match_names(header: Sequence[str]) -> dict[str, str]:
    """Column by role; a column has one role."""
    simplified = {simplify(column): column for column in reversed(header)}
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


def simplify(column: str) -> str:
    """`Latitude (deg)` as `latitude`."""
    without_unit = re.sub(r"[(\[].*?[)\]]", "", column)
    return re.sub(r"\W+", "_", without_unit.strip().lower()).strip("_")


def _are_signals(numbers: Sequence[float]) -> bool:
    readings = [number for number in numbers if _RSSI.minimum <= number < 0]
    return bool(readings) and median(readings) <= -1
