"""Paths in rows: relative to the data folder, so that the folder can be moved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models

# What earlier versions stored, and what events hold: an absolute path of a folder that may have
# been moved since.
_INSIDE = re.compile(
    r"(?:jobs|datasets)/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}[./].*", re.DOTALL
)


def to_relative(path: str) -> str:
    """The path as it is stored; one outside of the data folder stays absolute."""
    try:
        return Path(path).relative_to(settings.DATA_DIR).as_posix() if path else ""
    except ValueError:
        return path


def to_absolute(stored: str) -> str:
    if not stored:
        return ""
    folder = Path(settings.DATA_DIR)
    path = Path(stored)
    if not path.is_absolute():
        return str(folder / path)
    if not path.is_relative_to(folder) and (inside := _INSIDE.search(stored)):
        moved = folder / inside[0]
        if not path.exists():
            return str(moved)
    return stored


if TYPE_CHECKING:
    TextField = models.CharField[str, str]
else:
    TextField = models.CharField  # not generic


class DataPathField(TextField):
    """An absolute path in Python, a relative one in the row."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return None if value is None else to_absolute(value)

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return to_relative(prepared) if isinstance(prepared, str) else prepared
