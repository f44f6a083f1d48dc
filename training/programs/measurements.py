"""Columns of measured data and their valid numbers, for tables and requests."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Self

MAX_ID_LENGTH = 200
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class MeasurementError(ValueError):
    """The value cannot be measured; the message names the column, the value and the fix."""


@dataclass(frozen=True, slots=True)
class Column:
    """Bounds of plausible values, far inside what float32 holds; `hint` follows the refusal."""

    name: str
    minimum: float
    maximum: float
    unit: str
    hint: str = ""

    def check(self, value: float) -> None:
        if not self.minimum <= value <= self.maximum:
            hint = f"; {self.hint}" if self.hint else ""
            raise MeasurementError(
                f"{self.name} {value:g} is not between {self.minimum:g} and {self.maximum:g} "
                f"{self.unit}{hint}"
            )


_SILENT = "if the receiver heard nothing, leave it out (some data sets write 100 or -200 for that)"
_SIGNALS = (
    Column("rssi_dbm", -199, 60, "dBm", _SILENT),
    Column("snr_db", -150, 150, "dB"),
    # Also nanoseconds since 1970. Only differences between receivers count: MAX_SPREAD_NS.
    Column("toa_ns", -1e20, 1e20, "ns"),
    Column("frequency_offset_hz", -1e10, 1e10, "Hz"),
)
_POSITION = (
    Column("lat", -90, 90, "degrees"),
    Column("lon", -180, 180, "degrees"),
    Column("alt_m", -500, 20_000, "m above sea level"),
)
COLUMNS = {
    column.name: column
    for column in (
        *_SIGNALS,
        *_POSITION,
        *(Column(f"rx_{one.name}", one.minimum, one.maximum, one.unit) for one in _POSITION),
    )
}
# Light travels 300,000 km in this time; positions are within a thousand kilometers.
MAX_SPREAD_NS = 1_000_000_000


def parse_number(column: str, text: str) -> float:
    """The finite, plausible number; raises MeasurementError."""
    if _NUMBER.fullmatch(text):
        value = float(text)
    elif text.lstrip("+-").lower() in ("nan", "inf", "infinity"):
        value = math.nan
    else:
        hint = (
            "; write a point for the decimals" if _NUMBER.fullmatch(text.replace(",", ".")) else ""
        )
        raise MeasurementError(f"{column} {text[:60]!r} is not a number{hint}")
    if not math.isfinite(value):
        raise MeasurementError(f"{column} {text[:60]!r} is not a finite number")
    if column in COLUMNS:
        COLUMNS[column].check(value)
    return value


def parse_arrival(text: str) -> Decimal:
    """The exact time: nanoseconds since 1970 have more digits than a float."""
    parse_number("toa_ns", text)
    try:
        return Decimal(text)
    except InvalidOperation:  # its exponent is beyond that of Decimal
        raise MeasurementError(f"toa_ns {text[:60]!r} is not a number") from None


class ExactFloat(float):
    """A number of a JSON text, with its digits: a float has too few for nanoseconds since 1970."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        self = super().__new__(cls, text)
        self.text = text
        return self


def relative_arrivals(
    samples: Sequence[str], arrivals: Sequence[float | None]
) -> list[float | None]:
    """Each arrival since the first of its sample, as an import stores it.

    Integers and ExactFloats lose no digit. Raises MeasurementError if a sample has no common clock.
    """
    exact = [None if arrival is None else _decimal(arrival) for arrival in arrivals]
    first: dict[str, Decimal] = {}
    last: dict[str, Decimal] = {}
    for sample, arrival in zip(samples, exact, strict=True):
        if arrival is not None:
            first[sample] = min(arrival, first.get(sample, arrival))
            last[sample] = max(arrival, last.get(sample, arrival))
    for sample, arrival in first.items():
        check_spread(sample, (0.0, float(last[sample] - arrival)))
    return [
        None if arrival is None else float(arrival - first[sample])
        for sample, arrival in zip(samples, exact, strict=True)
    ]


def _decimal(arrival: float) -> Decimal:
    try:
        return Decimal(arrival.text if isinstance(arrival, ExactFloat) else arrival)
    except InvalidOperation:  # its exponent is beyond that of Decimal: the float is 0
        return Decimal(float(arrival))


def check_spread(sample: str, arrivals: Iterable[float]) -> None:
    """Raise MeasurementError if the arrivals of a sample are too far apart for one clock."""
    known = [arrival for arrival in arrivals if not math.isnan(arrival)]
    spread = max(known, default=0.0) - min(known, default=0.0)
    if spread > MAX_SPREAD_NS:
        of_sample = f" of sample {sample!r}" if sample else ""
        raise MeasurementError(
            f"the toa_ns{of_sample} are {spread:.4g} ns apart, at most "
            f"{MAX_SPREAD_NS:,} is possible; give nanoseconds on a clock that all receivers share"
        )
