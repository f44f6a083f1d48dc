"""The content of a checkpoint file. Loads no torch, for the process that writes it."""

from __future__ import annotations

from typing import Any

from training.localization.checkpoints import safetensors_file

FORMAT, NUMBERS = 4, "numbers"


def pack(about: dict[str, Any], numbers: bytes) -> bytes:
    """Encode the fields of a `Snapshot`."""
    return safetensors_file.row(NUMBERS, numbers, {"format": FORMAT, **about})
