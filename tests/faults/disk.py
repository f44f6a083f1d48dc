"""Simulates a small and a full disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """Mount a disk of this size at the new folder; yield whether that is possible."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "heimdall-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Fill the disk with `path`, and the space that deleted checkpoints free."""
    enough = threading.Event()

    def fill() -> None:
        while not enough.wait(0.002):
            for size in (1 << 22, 4096):  # a large disk soon, and the rest of it exactly
                with contextlib.suppress(OSError), path.open("ab", buffering=0) as filler:
                    while not enough.is_set():
                        filler.write(bytes(size))

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
        path.unlink()
