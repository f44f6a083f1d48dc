"""The result of a retention step: what it removed, or would remove."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Removed:
    """`count` rows or files of a kind, and the bytes that they used."""

    kind: str
    count: int = 0
    bytes: int = 0


# Ends a step that found nothing to remove.
NOTHING = Removed("")
