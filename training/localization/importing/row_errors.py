"""The invalid rows of an import: the first ends it, or a preview collects them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from training.programs.datasets import DatasetImportError, InvalidRowError

if TYPE_CHECKING:
    from training.localization.importing.csv_tables import Row


class UnknownIDError(InvalidRowError):
    """The row names a sample or receiver that no other table has."""

    def __init__(self, row: Row, column: str, name: str, table: str) -> None:
        super().__init__(row.file, row.line, f"{column} {name!r} is not in {table}")
        self.name = name


class TooManyErrorsError(DatasetImportError):
    """The maximum number of invalid rows was collected."""


class RowErrors:
    def __init__(self, limit: int = 1) -> None:
        self.found: list[InvalidRowError] = []
        self._limit = limit
        self._refused: set[str] = set()

    def add(self, error: InvalidRowError) -> None:
        """Raises the error if it is the only one wanted, TooManyErrorsError if it is the last."""
        if self._limit == 1:
            raise error
        self.found.append(error)
        if len(self.found) == self._limit:
            raise TooManyErrorsError(f"more than {self._limit} rows are invalid")

    def collect(self, add_row: Callable[[Row], None], rows: Iterable[Row]) -> None:
        for row in rows:
            try:
                add_row(row)
            except UnknownIDError as error:
                # The row that defines the ID was refused, which is reported already.
                if error.name not in self._refused:
                    self.add(error)
            except InvalidRowError as error:
                self._refused.update(
                    row.fields[column] for column in ("sample_id", "receiver_id")
                    if column in row.fields
                )  # fmt: skip
                self.add(error)
