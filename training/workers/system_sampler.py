"""Samples the resource use of the processes of a training."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from training.workers.gpu_figures import gpu_figures
from training.workers.memory_limit import MemoryLimit

# Reading the shared memory of a large process takes the kernel up to 100 ms: it may take at most
# this share of the time.
PSS_TIME_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class _Usage:
    """Counters of one process since its start."""

    cpu_seconds: float
    read_bytes: int
    written_bytes: int


class SystemSampler:
    """Figures of a process and all its descendants; rates are since the last sample."""

    def __init__(self, pid: int, limit: MemoryLimit) -> None:
        self._pid, self._limit = pid, limit
        self._sampled_at = time.monotonic()
        self._usages: dict[tuple[int, float], _Usage] = {}
        self._network = _network_bytes()
        self._next_pss, self._pss_share = self._sampled_at, 1.0

    def sample(self) -> dict[str, float]:
        """Empty if the process has exited."""
        usages: dict[tuple[int, float], _Usage] = {}
        rss = 0
        for process in self._tree():
            with contextlib.suppress(psutil.Error), process.oneshot():
                rss += process.memory_info().rss
                usages[process.pid, process.create_time()] = _usage(process)
        if not usages:
            return {}
        now = time.monotonic()
        seconds, self._sampled_at = max(now - self._sampled_at, 1e-3), now
        pids = [pid for pid, _ in usages]
        figures = {
            **self._rates(usages, seconds),
            "memory_rss": rss,
            "memory_pss": rss * self._proportional_share(pids, rss, now),
            "memory_limit": self._limit.bytes(),
            "processes": len(usages),
            **gpu_figures(pids),
        }
        return {name: float(value) for name, value in figures.items()}

    def _tree(self) -> Iterator[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self._pid)
            yield root
            yield from root.children(recursive=True)

    def _rates(self, usages: dict[tuple[int, float], _Usage], seconds: float) -> dict[str, float]:
        nothing = _Usage(0.0, 0, 0)
        before, self._usages = self._usages, usages
        pairs = [(usage, before.get(key, nothing)) for key, usage in usages.items()]
        network, self._network = self._network, _network_bytes()
        cpu_seconds = sum(one.cpu_seconds - old.cpu_seconds for one, old in pairs)
        return {
            "cpu_percent": 100 * cpu_seconds / seconds,
            "disk_read": sum(one.read_bytes - old.read_bytes for one, old in pairs) / seconds,
            "disk_write": sum(one.written_bytes - old.written_bytes for one, old in pairs)
            / seconds,
            "network_receive": max(self._network[0] - network[0], 0) / seconds,
            "network_send": max(self._network[1] - network[1], 0) / seconds,
        }

    def _proportional_share(self, pids: list[int], rss: int, now: float) -> float:
        """PSS, in which shared pages count once, divided by RSS; between readings the last one."""
        if len(pids) == 1:
            return 1.0
        if now >= self._next_pss:
            began = time.perf_counter()
            sizes = [_proportional_set_size(pid) for pid in pids]
            self._next_pss = now + (time.perf_counter() - began) / PSS_TIME_SHARE
            if None not in sizes and rss:
                self._pss_share = sum(filter(None, sizes)) / rss
        return self._pss_share


def _usage(process: psutil.Process) -> _Usage:
    cpu = process.cpu_times()
    try:
        disk = process.io_counters()
    except (psutil.AccessDenied, AttributeError):  # AttributeError: not on macOS
        return _Usage(cpu.user + cpu.system, 0, 0)
    return _Usage(cpu.user + cpu.system, disk.read_bytes, disk.write_bytes)


def _network_bytes() -> tuple[int, int]:
    """Received and sent by this machine, without the loopback."""
    cards = psutil.net_io_counters(pernic=True)
    others = [card for name, card in cards.items() if name != "lo"]
    return sum(one.bytes_recv for one in others), sum(one.bytes_sent for one in others)


def _proportional_set_size(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return None
