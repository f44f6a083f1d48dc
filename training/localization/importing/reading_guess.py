"""Guess what the columns of a table of readings hold, by the receivers that a model knows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from training.localization.importing.mapping_guess import (
    QUANTITIES,
    READING_NAME,
    Guesser,
    simplify,
)
from training.localization.importing.single_table import Table
from training.localization.table_mapping import Quantity, ReadingMapping, ReceiverColumn
from training.programs.measurements import COLUMNS
from training.programs.readings import ReadingOptions

# Column names that may number the rows instead of the samples.
_ROW_NUMBERS = ("id", "index")


class KnownReceivers:
    """The receivers of a model by name, ignoring case."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {unicodedata.normalize("NFC", name): name for name in names}
        self._folded: dict[str, list[str]] = {}
        for name in names:
            self._folded.setdefault(_fold(name), []).append(name)

    def find(self, typed: str) -> str | None:
        """The receiver's name in the model; None if it is unknown."""
        name = unicodedata.normalize("NFC", typed).strip()
        if name in self._names:
            return self._names[name]
        alike = self._folded.get(_fold(name), [])
        return alike[0] if len(alike) == 1 else None


class ReadingGuesser(Guesser):
    """Positions are not needed, and a column with a receiver's name holds its readings."""

    def __init__(self, table: Table, known: KnownReceivers, options: ReadingOptions) -> None:
        self._receivers = known
        self._default: Quantity = (
            "rssi_dbm" if "rssi_dbm" in options.signals else _first_quantity(options.signals)
        )
        super().__init__(table)

    def reading_mapping(self) -> ReadingMapping:
        """Raises ValidationError where a necessary column was not found.

        Columns of receivers that the model does not know are in it too.
        """
        return ReadingMapping.model_validate(self._fields())

    def _drop_improbable(self) -> None:
        # A column of mistakes is read too, so that each of them is reported.
        taken = {column for column in self._table.header if self._reading_of(column)}
        self._named = {role: name for role, name in self._named.items() if name not in taken}
        self._known -= taken

    def _sample_id(self) -> tuple[str, ...]:
        column = self._named.get("sample_id", "")
        values = self._values(column) if column else []
        if self._is_long:
            if column and (len(set(values)) < len(values) or simplify(column) not in _ROW_NUMBERS):
                return (column,)
            times = self._time_columns()[:1]
            if times:
                self.notes.append(f"Rows with the same {times[0]!r} are one sample.")
            else:
                self.notes.append("There is no column of samples: all rows are one sample.")
            return tuple(times)
        if column and values and len(set(values)) == len(values):
            return (column,)
        return ()

    def _receiver_columns(self) -> dict[str, ReceiverColumn]:
        unknown = super()._receiver_columns()
        return {
            column: found
            for column in self._table.header
            if (found := self._reading_of(column) or unknown.get(column))
        }

    def _silent_columns(
        self, receivers: dict[str, ReceiverColumn], silence: Sequence[float]
    ) -> dict[str, ReceiverColumn]:
        return {}  # those of the model's receivers are known by their names

    def _find_silence(self, receivers: dict[str, ReceiverColumn]) -> list[float]:
        """A number in one column only may be a real reading of a fixed transmitter."""
        silent = super()._find_silence(receivers)
        if self._is_long:
            return silent
        rssi = COLUMNS["rssi_dbm"]
        columns = [set(self._numbers(column)) for column in receivers]
        kept = [
            value
            for value in silent
            if not rssi.minimum <= value <= rssi.maximum
            or sum(value in numbers for numbers in columns) > 1
        ]
        for value in set(silent) - set(kept):
            self.notes = [note for note in self.notes if not note.startswith(f"{value:g} in ")]
        return kept

    def _reading_of(self, column: str) -> ReceiverColumn | None:
        """Receiver and quantity of a column whose name contains that of a receiver of the model."""
        if name := self._receivers.find(column):
            return ReceiverColumn(receiver_id=name, quantity=self._default)
        if not (match := READING_NAME.fullmatch(column)):
            return None
        name = self._receivers.find(match[1] or match[3] or "")
        quantity = QUANTITIES[match[2].lower()]
        return ReceiverColumn(receiver_id=name, quantity=quantity) if name else None


def _first_quantity(signals: Sequence[str]) -> Quantity:
    return "toa_ns" if "toa_ns" in signals else "snr_db"


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
