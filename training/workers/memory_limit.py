"""The memory limit of a process and its out-of-memory kills, from its control group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

# Version 1 writes an absent limit as the largest multiple of a page.
UNLIMITED = 1 << 62


class MemoryLimit:
    """Control groups of version 2 or 1; without any, the limit is the memory of the machine."""

    def __init__(
        self, pid: int, proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")
    ) -> None:
        self._file, self._mount = proc / str(pid) / "cgroup", mount
        self._groups: list[Path] = []
        self._killed_before = 0
        self._find_groups()

    def bytes(self) -> int:
        """The lowest limit of the group and the groups that contain it."""
        self._find_groups()
        limits = [
            int(text)
            for group in self._groups
            for name in ("memory.max", "memory.limit_in_bytes")
            if (text := _read(group / name).strip()).isdigit()
        ]
        installed: int = psutil.virtual_memory().total
        return min([installed, *(one for one in limits if one < UNLIMITED)])

    def killed(self) -> bool:
        """Whether the kernel has killed a process of the group for memory since the start."""
        return self._kills() > self._killed_before

    def _find_groups(self) -> None:
        """A launcher may have moved the process; a process that has exited keeps its group."""
        found = _control_groups(self._file, self._mount)
        if found and found != self._groups:
            self._groups = found
            self._killed_before = self._kills()

    def _kills(self) -> int:
        for group in self._groups[:1]:
            for name in ("memory.events", "memory.oom_control"):
                for line in _read(group / name).splitlines():
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
        return 0


def _control_groups(file: Path, mount: Path) -> list[Path]:
    """The memory group of the process, then those that contain it."""
    for line in _read(file).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            root = mount / "memory"
        elif controllers == "" and (mount / "cgroup.controllers").exists():
            root = mount
        else:
            continue
        return [one for one in _upwards(root, path) if one.is_dir()]
    return []


def _upwards(root: Path, path: str) -> Iterator[Path]:
    # In a container the path may be that of the host: then only the root of the mount exists.
    group = root / path.lstrip("/")
    while group != root:
        yield group
        group = group.parent
    yield root


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except OSError:
        return ""
