"""Tensors with JSON metadata in one safetensors file: nothing in it can be executed.

The format is eight bytes of length, a header of JSON, the data (huggingface.co/docs/safetensors).
The library writes and reads the tensors; it has no way to read the metadata of bytes in memory,
and needs NumPy or torch for what `row` does without.
"""

from __future__ import annotations

import json
from typing import Any

_LENGTH = 8
_ABOUT = "heimdall"


def metadata(about: dict[str, Any]) -> dict[str, str]:
    """The metadata in the form that the library expects."""
    return {_ABOUT: json.dumps(about)}


def about(content: bytes) -> dict[str, Any]:
    """Read the metadata of a file; raises ValueError if it is not a safetensors file."""
    length = int.from_bytes(content[:_LENGTH], "little")
    try:
        header = json.loads(content[_LENGTH : _LENGTH + length])
        fields: dict[str, Any] = json.loads(header["__metadata__"][_ABOUT])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("it holds no tensors, or none of ours") from error
    return fields


def row(name: str, floats: bytes, about: dict[str, Any]) -> bytes:
    """The file of a single row of float32."""
    tensor = {"dtype": "F32", "shape": [len(floats) // 4], "data_offsets": [0, len(floats)]}
    header = json.dumps({"__metadata__": metadata(about), name: tensor}).encode()
    header += b" " * (-len(header) % _LENGTH)  # so that the data begins where eight bytes do
    return len(header).to_bytes(_LENGTH, "little") + header + floats
