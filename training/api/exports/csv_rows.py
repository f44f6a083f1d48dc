"""Rows of CSV files that spreadsheets open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

# Names have no tab or line break, with which a formula can begin as well.
FORMULA_STARTS = ("=", "+", "-", "@")


def text_cell(text: str) -> str:
    """A cell that no spreadsheet interprets as a formula: names come from users."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def encode_rows(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def encode_row(cells: Sequence[object]) -> bytes:
    return encode_rows([cells])
