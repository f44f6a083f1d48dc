"""A burst of events while some clients read slowly or not at all: others are not delayed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.job_observation import seqs, unix_time
from tests.faults.results_table import Tally, scaled
from tests.sockets import frame, open_socket
from tests.stack import Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]
BURST, READERS, AT_ONCE = scaled(2_000, 10_000), 5, 50
PROGRAM = f"""
import sys, time, django; django.setup()
from django.contrib.auth.models import User
from django.db.models import Q
from typing import Any
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset
from training.events.publisher import get_publisher
ada = User.objects.get(username="ada")
job = lifecycle.submit(ada, Dataset.objects.first(), TrainConfig())
lifecycle.request_pause(job, "ada")
print(job.pk, flush=True)
sys.stdin.readline()
for _ in range({BURST // AT_ONCE}):
    lifecycle.change(job.pk, Q(), *[lifecycle.status_event("burst", "note")] * {AT_ONCE})
    time.sleep({AT_ONCE} / 2000)
get_publisher().stop(timeout=60)
"""


async def run_burst(stack: Stack, slow: bool) -> list[float]:
    """Return the latency of every event at every reader, in seconds."""
    program = await asyncio.create_subprocess_exec(
        str(Path(stack.python("-c", "import sys; print(sys.executable)").strip())),
        "-c",
        PROGRAM,
        env=stack.environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stdin is not None
    job_id = (await program.stdout.readline()).decode().strip()
    others = [asyncio.ensure_future(read_slowly(stack, job_id)),
              asyncio.ensure_future(stop_reading(stack, job_id))] if slow else []  # fmt: skip
    readers = [asyncio.ensure_future(read(stack, job_id)) for _ in range(READERS)]
    await asyncio.sleep(1)
    program.stdin.write(b"\n")
    program.stdin.close()
    try:
        async with asyncio.timeout(120):
            latencies = [latency for found in await asyncio.gather(*readers) for latency in found]
        await program.wait()
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    return latencies


async def read(stack: Stack, job_id: str) -> list[float]:
    latencies: list[float] = []
    frames: list[dict[str, Any]] = []
    async with open_socket(stack, f"/training/{job_id}?after=0") as socket:
        while not frames or frames[-1]["seq"] < 3 + BURST:
            event = await frame(socket, 60)
            if "seq" in event:
                frames.append(event)
                latencies.append(time.time() - unix_time(event))
    assert seqs(frames) == list(range(1, 4 + BURST))
    return latencies[3:]


async def read_slowly(stack: Stack, job_id: str) -> None:
    async with open_socket(stack, f"/training/{job_id}?after=0") as socket:
        while True:
            json.loads(await socket.recv())
            await asyncio.sleep(0.02)


async def stop_reading(stack: Stack, job_id: str) -> None:
    async with open_socket(stack, f"/training/{job_id}?after=0") as socket:
        await socket.recv()
        socket.transport.pause_reading()
        await asyncio.sleep(600)


def memory_mb(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines()
               if line.startswith("VmRSS"))  # fmt: skip
    return int(line.split()[1]) / 1024


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


async def test_slow_and_stalled_readers_do_not_delay_others(disturbed: Stack, tally: Tally) -> None:
    assert disturbed.web is not None
    undisturbed = await run_burst(disturbed, slow=False)
    before = memory_mb(disturbed.web.pid)
    disturbed_latencies = await run_burst(disturbed, slow=True)
    grown = memory_mb(disturbed.web.pid) - before
    ratio = percentile(disturbed_latencies, 0.99) / percentile(undisturbed, 0.99)
    assert grown < 50
    tally(
        f"burst of {BURST:,} events with a slow and a stalled reader: p99 of the others "
        f"{1000 * percentile(disturbed_latencies, 0.99):.0f} ms, {ratio:.2f} x undisturbed; "
        f"web process {before:.0f} MB, {grown:+.0f} MB",
        1,
    )
