"""The process that writes a trainer's checkpoints and tells of its epochs.

`python -m training.engine.scribe REPLIES`: each order on stdin is a line of JSON and the
checkpoint's bytes. They are written, then the epoch's line goes to stdout, which is the trainer's;
then one line to the file handle REPLIES: empty, or what went wrong. It ends when its stdin does.

A thread would not do: it and the training wait for the interpreter's lock, some sixty times an
epoch, which costs 3 ms.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from training.engine.files import CheckpointError, write_epoch


def main(replies: int) -> None:
    while head := sys.stdin.buffer.readline():
        os.write(replies, f"{_carry_out(orjson.loads(head), sys.stdin.buffer)}\n".encode())


def _carry_out(head: dict[str, Any], source: BinaryIO) -> str:
    """What went wrong."""
    content = source.read(head["size"])
    if len(content) < head["size"]:
        return "The trainer ended in the middle of a checkpoint"
    try:
        write_epoch(Path(head["folder"]), head["epoch"], content, head["is_best"])
    except CheckpointError as error:
        return str(error)
    # In one piece: the trainer writes to the same pipe.
    os.write(sys.stdout.fileno(), head["line"].encode())
    return ""


if __name__ == "__main__":
    main(int(sys.argv[1]))
