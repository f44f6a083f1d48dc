"""Memory limits in control groups of both versions, as files."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from training.workers.memory_limit import MemoryLimit

GIB = 1 << 30


class FakeMachine:
    """A process 7 in the group /jobs/one."""

    def __init__(self, folder: Path, version: int) -> None:
        self.proc, self.mount, self.version = folder / "proc", folder / "cgroup", version
        root = self.mount if version == 2 else self.mount / "memory"
        self.group = root / "jobs" / "one"
        self.group.mkdir(parents=True)
        (self.proc / "7").mkdir(parents=True)
        line = "0::/jobs/one\n" if version == 2 else "9:name=systemd:/\n4:memory:/jobs/one\n0::/\n"
        (self.proc / "7" / "cgroup").write_text(line)
        if version == 2:
            (self.mount / "cgroup.controllers").write_text("cpu memory\n")
        self.set_kills(0)

    def set_limit(self, group: Path, text: str) -> None:
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        (group / name).write_text(f"{text}\n")

    def set_kills(self, count: int) -> None:
        if self.version == 2:
            (self.group / "memory.events").write_text(f"low 0\noom 9\noom_kill {count}\n")
        else:
            (self.group / "memory.oom_control").write_text(f"under_oom 0\noom_kill {count}\n")

    def limit(self) -> MemoryLimit:
        return MemoryLimit(7, self.proc, self.mount)


@pytest.fixture(params=[2, 1])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path, request.param)


def test_memory_limit_is_the_lowest_of_the_enclosing_control_groups(machine: FakeMachine) -> None:
    machine.set_limit(machine.group, "max" if machine.version == 2 else "9223372036854771712")
    assert machine.limit().bytes() == psutil.virtual_memory().total
    machine.set_limit(machine.group.parent, str(GIB))
    assert machine.limit().bytes() == GIB
    machine.set_limit(machine.group, str(GIB // 2))
    assert machine.limit().bytes() == GIB // 2


def test_only_kills_since_the_start_count(machine: FakeMachine) -> None:
    machine.set_kills(3)
    limit = machine.limit()
    assert not limit.killed()
    machine.set_kills(4)
    assert limit.killed()


def test_without_control_groups_the_limit_is_the_memory_of_the_machine(tmp_path: Path) -> None:
    limit = MemoryLimit(7, tmp_path, tmp_path)
    assert limit.bytes() == psutil.virtual_memory().total
    assert not limit.killed()


def test_memory_limit_of_a_container_is_read_at_the_cgroup_root(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text("0::/kubepods/of-the-host\n")
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    assert MemoryLimit(7, tmp_path, tmp_path).bytes() == GIB
