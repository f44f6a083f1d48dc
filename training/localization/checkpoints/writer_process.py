"""The process that writes a trainer's checkpoints and tells of its epochs.

`python -m training.localization.checkpoints.writer_process MEMORY REPLIES`:
each order on stdin is a line of JSON, the
numbers lie in the file handle MEMORY, which is memory that both share. They are written, then the
lines of the epochs go to stdout, which is the trainer's; then one line to the file handle REPLIES:
empty, or what went wrong. It ends when its stdin does.

A thread would not do: it and the training wait for the interpreter's lock, some sixty times an
epoch, which costs 3 ms.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import orjson

from training.localization.checkpoints.files import CheckpointError, pack, write_checkpoint


def main(memory: int, replies: int) -> None:
    for order in sys.stdin.buffer:
        if not order.endswith(b"\n"):
            return  # the trainer ended in the middle of it
        os.write(replies, f"{_write(orjson.loads(order), memory)}\n".encode())


def _write(order: dict[str, Any], memory: int) -> str:
    """What went wrong."""
    try:
        for kind, held in order["held"]:
            numbers = os.pread(memory, held["size"], held["at"])
            content = pack(held["about"], numbers)
            path = write_checkpoint(Path(order["folder"]), kind, held["about"]["epoch"], content)
    except CheckpointError as error:
        return str(error)
    # The checkpoint is the last epoch's: whoever has heard of the others only goes on from before.
    order["messages"][-1]["checkpoint_path"] = str(path)
    lines = b"".join(
        orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE) for message in order["messages"]
    )
    # In one piece: the trainer writes to the same pipe.
    os.write(sys.stdout.fileno(), lines)
    return ""


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
