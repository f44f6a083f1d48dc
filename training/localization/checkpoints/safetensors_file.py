"""Tensors with JSON metadata in one safetensors file: nothing in it can be executed.

The format is eight bytes of length, a header of JSON, the data (huggingface.co/docs/safetensors).
The library writes and reads the tensors; it cannot read the metadata of bytes in memory, and needs
NumPy or torch for what `pack_vector` does without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

_LENGTH = 8
_KEY = "heimdall"


def encode_metadata(metadata: Mapping[str, object]) -> dict[str, str]:
    return {_KEY: json.dumps(metadata)}


def read_metadata(content: bytes) -> dict[str, object]:
    """Read the metadata of a file; raises ValueError if it is not a safetensors file."""
    length = int.from_bytes(content[:_LENGTH], "little")
    try:
        header = json.loads(content[_LENGTH : _LENGTH + length])
        fields: dict[str, object] = json.loads(header["__metadata__"][_KEY])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("it is not a safetensors file of Heimdall") from error
    return fields


def pack_vector(name: str, floats: bytes, metadata: Mapping[str, object]) -> bytes:
    tensor = {"dtype": "F32", "shape": [len(floats) // 4], "data_offsets": [0, len(floats)]}
    header = json.dumps({"__metadata__": encode_metadata(metadata), name: tensor}).encode()
    header += b" " * (-len(header) % _LENGTH)  # aligns the data to eight bytes
    return len(header).to_bytes(_LENGTH, "little") + header + floats
