"""Errors and notices of the SDK."""

from __future__ import annotations

import sys

_shown: set[str] = set()


class CheckpointError(Exception):
    """A checkpoint cannot be written or read; a retry would fail in the same way."""


def notify(message: str) -> None:
    """Write one line to stderr; a training never fails because stderr is closed."""
    try:
        sys.stderr.write(f"heimdall: {message}\n")
        sys.stderr.flush()
    except Exception:
        return


def notify_once(key: str, message: str) -> None:
    if key not in _shown:
        _shown.add(key)
        notify(message)
