"""The process that writes a training's checkpoints and sends the messages of their epochs.

`python -m training.localization.checkpoints.writer_process MEMORY MESSAGES REPLIES`: three file
descriptors. Each order on stdin is a line of JSON; the parameters are in MEMORY, which both
processes share. This process writes the checkpoints, sends the epochs' messages to MESSAGES and
then one line to REPLIES: empty, or the error. It exits when stdin closes.

A thread would be slower: it and the training would switch the interpreter's lock about 60 times an
epoch, which costs 3 ms.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import orjson

from training.localization.checkpoints.checkpoint_format import WriteOrder, pack
from training.programs.checkpoint_files import CheckpointError, write_checkpoint


def main(memory_fd: int, messages_fd: int, replies_fd: int) -> None:
    for order in sys.stdin.buffer:
        if not order.endswith(b"\n"):
            return  # the training was killed while it wrote the order
        error = _execute(orjson.loads(order), memory_fd, messages_fd)
        os.write(replies_fd, f"{error}\n".encode())


def _execute(order: WriteOrder[dict[str, object]], memory_fd: int, messages_fd: int) -> str:
    """Return the error message, or an empty string."""
    try:
        for kind, shared in order["checkpoints"]:
            vector = os.pread(memory_fd, shared["size"], shared["offset"])
            content, epoch = pack(shared["metadata"], vector), shared["metadata"]["epoch"]
            path = write_checkpoint(Path(order["folder"]), kind, epoch, content)
    except CheckpointError as error:
        return str(error)
    # The checkpoint is that of the last epoch. A resume after an earlier one starts further back.
    order["messages"][-1]["checkpoint_path"] = str(path)
    lines = b"".join(
        orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE) for message in order["messages"]
    )
    # In one write: the training writes to the same pipe.
    os.write(messages_fd, lines)
    return ""


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
