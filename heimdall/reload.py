"""Restart a server process whenever a source file changes (`manage.py serve --reload`)."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

POLL_SECONDS = 0.5
SUFFIXES = {".css", ".html", ".js", ".py", ".toml"}


def run_with_reload(command: Sequence[str], folders: Iterable[Path], stop: threading.Event) -> int:
    """Run `command` until it exits with 0 or `stop` is set, and restart it after each change.

    The server is a child process that receives SIGTERM, so it returns its running jobs to the
    queue before the next one starts. Django's own reloader would run it in a thread and exit
    without any cleanup. A command that fails is started again after the next change.
    """
    folders = list(folders)
    while True:
        before = modification_times(folders)
        with subprocess.Popen(command) as server:
            try:
                while modification_times(folders) == before:
                    if stop.wait(POLL_SECONDS) or server.poll() == 0:
                        return 0
            finally:
                server.terminate()


def modification_times(folders: Iterable[Path]) -> dict[Path, int]:
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.suffix in SUFFIXES:
                try:
                    found[path] = path.stat().st_mtime_ns
                except FileNotFoundError:  # deleted since it was listed
                    continue
    return found
