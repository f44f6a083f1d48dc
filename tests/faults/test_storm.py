"""Simultaneous faults of all kinds on a whole installation; then everything is compared.

`HEIMDALL_STORM_SEED=7 HEIMDALL_STORM_MINUTES=60` sets the seed and how long faults are caused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from heimdall_sdk.sync import sync_spool
from tests.broker import PrivateBroker
from tests.faults.disk import small_disk
from tests.faults.event_clients import (
    AllJobsClient,
    EventClient,
    Events,
    PollingClient,
    SocketClient,
    StreamClient,
)
from tests.faults.reported_run import expected_points, reported_job, start, stored_points
from tests.faults.results_table import Tally, scaled
from tests.faults.storm import comparison
from tests.faults.storm.faults import WORKERS, FaultInjector
from tests.faults.storm.schedule import REPORT_SILENCE_SECONDS, plan
from tests.faults.storm.user import FINAL, JOBS, User
from tests.polling import eventually
from tests.stack import Stack, postgres_is_available, running_stack

SEED = int(os.environ.get("HEIMDALL_STORM_SEED", "1"))
SECONDS = 60 * float(os.environ.get("HEIMDALL_STORM_MINUTES", "0")) or scaled(30, 300)
HEAL_SECONDS = 180 + SECONDS / 10
POINTS = 20_000
AT_ONCE = 2 if SECONDS < 60 else 4

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.postgres,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(SECONDS + 2 * HEAL_SECONDS + 120),
    pytest.mark.skipif(not postgres_is_available(), reason="needs PostgreSQL"),
]


class Watchers:
    """The clients of every job, which also reconnect without a fault."""

    def __init__(self, webs: list[Stack]) -> None:
        self._rng = random.Random(f"{SEED} clients")
        self._loop = asyncio.get_running_loop()
        self._choose_web = partial(self._rng.choice, webs)
        self._tasks: list[asyncio.Task[None]] = []
        self.of_job: dict[str, list[EventClient]] = {}
        self.of_all_jobs = [
            AllJobsClient(partial(self._rng.choice, [web]), self._lifetime) for web in webs
        ]
        self._of_all_jobs = [asyncio.ensure_future(one.follow()) for one in self.of_all_jobs]

    def add(self, job: str) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._add, job)

    def _add(self, job: str) -> None:
        kinds = (SocketClient, StreamClient, PollingClient)
        self.of_job[job] = [kind(self._choose_web, job, self._lifetime) for kind in kinds]
        self._tasks += [asyncio.ensure_future(one.follow()) for one in self.of_job[job]]

    def _lifetime(self) -> float:
        return self._rng.uniform(1, 20)

    async def finish(self) -> list[str]:
        """Wait until each client has the last event of its job; return the errors."""
        await asyncio.wait(self._tasks, timeout=HEAL_SECONDS)
        return [f"{task.exception()}" for task in self._tasks if task.done() and task.exception()]

    async def close(self) -> None:
        for task in [*self._tasks, *self._of_all_jobs]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._of_all_jobs, return_exceptions=True)

    def connections(self) -> int:
        of_jobs = sum(client.connections for all_of in self.of_job.values() for client in all_of)
        return of_jobs + sum(len(client.connections) for client in self.of_all_jobs)


@pytest.fixture
def installation(
    private_broker: PrivateBroker, tmp_path: Path
) -> Iterator[tuple[list[Stack], bool]]:
    """Two web processes and two workers, and whether the disk of the jobs can be filled."""
    size = f"{256 + SECONDS:.0f}m"
    with (
        small_disk(tmp_path / "data" / "jobs", size) as small,
        running_stack(
            tmp_path / "data",
            private_broker.url,
            workers=WORKERS,
            HEIMDALL_PROGRAMS_DIR=str(settings.BASE_DIR / "sdk" / "examples"),
            HEIMDALL_JOBS_AT_ONCE="2",
            HEIMDALL_REPORT_SILENCE_SECONDS=str(REPORT_SILENCE_SECONDS),
        ) as stack,
    ):
        other = stack.with_another_web()
        other.start_web()
        yield [stack, other], small


def is_in_order(web: Stack) -> bool:
    state = httpx.get(f"{web.url}/readyz", timeout=20).json()
    return bool(state["ready"] and state["workers"] >= 2 and not state["outbox_jobs"])


def has_ended(user: User) -> bool:
    """Resume stopped jobs and sweeps; return whether all of them have ended."""
    user.resume_all()
    sweeps = {sweep["status"] for sweep in user.list_all("/sweeps")}
    return not user.unfinished() and sweeps <= FINAL


async def test_storm_of_faults_loses_no_event_and_changes_no_result(
    installation: tuple[list[Stack], bool],
    private_broker: PrivateBroker,
    tmp_path: Path,
    tally: Tally,
) -> None:
    webs, small_disk = installation
    stack = webs[0]
    lanes = plan(SEED, SECONDS, without=() if small_disk else {"disk full"})
    watchers = Watchers(webs)
    user = User(webs, SEED, at_once=AT_ONCE, on_submit=watchers.add)
    reporter = start(stack, tmp_path, POINTS, SECONDS * 0.9)
    faults = FaultInjector(webs, private_broker, reporter)
    try:
        for program in JOBS:
            await asyncio.to_thread(user.submit, program)
        await asyncio.to_thread(user.start_sweep)
        reported = await asyncio.to_thread(eventually, lambda: reported_job(stack))
        watchers.add(reported["id"])
        user.start()
        await asyncio.to_thread(faults.run, lanes, SECONDS)
        assert not faults.errors, "\n".join([*faults.log(), *faults.errors])
        await asyncio.to_thread(user.stop)
        failures, logs = await compare_after_heal(webs, user, watchers, reporter, tmp_path)
    finally:
        faults.stop()
        reporter.kill()
        await asyncio.to_thread(user.stop)
        await watchers.close()
    assert not failures, "\n".join(
        [
            f"The storm of seed {SEED}, {SECONDS:.0f} s:",
            *(f"planned, {lane}: {fault}" for lane, planned in lanes.items() for fault in planned),
            *faults.log(),
            f"{len(failures)} violations:",
            *failures,
        ]
    )
    for kind, seconds in sorted(comparison.recoveries(faults.caused, logs).items()):
        tally(f"storm of seed {SEED}: {kind}", len(seconds), seconds=seconds)
    tally(
        f"storm of seed {SEED}, {SECONDS:.0f} s: {len(logs)} jobs, "
        f"{sum(map(len, logs.values())):,} events, {watchers.connections()} connections, "
        f"{user.requests} requests of which {user.repeated} were repeated; "
        f"{faults.left_out} planned faults did not fit into the time",
        len(faults.caused),
    )


async def compare_after_heal(
    webs: list[Stack],
    user: User,
    watchers: Watchers,
    reporter: subprocess.Popen[bytes],
    tmp_path: Path,
) -> tuple[list[str], dict[str, Events]]:
    """Wait until everything has come to its end; return the violations, and all stored events."""
    stack = webs[0]
    references = {await asyncio.to_thread(user.submit, program) for program in JOBS}
    await asyncio.to_thread(reporter.wait, HEAL_SECONDS)
    # What the script could not send before it ended.
    await asyncio.to_thread(sync_spool, stack.url, stack.tokens["ada"], tmp_path / "spool")
    ended = partial(eventually, partial(has_ended, user), HEAL_SECONDS, "not ended", 1)
    violations = await failure_of(ended)
    violations += await watchers.finish()
    for web in webs:
        in_order = partial(eventually, partial(is_in_order, web), 30, f"{web.url} is not in order")
        violations += await failure_of(in_order)
    jobs = await asyncio.to_thread(user.list_all, "/jobs")
    logs = {job["id"]: await asyncio.to_thread(stack.events, job["id"]) for job in jobs}
    all_jobs = partial(comparison.all_jobs_violations, watchers.of_all_jobs, logs)
    with contextlib.suppress(AssertionError):
        # The last events may still be on their way.
        await asyncio.to_thread(eventually, lambda: not list(all_jobs()), 10)
    statuses = {job["id"]: job["status"] for job in jobs}
    trials = sum(job["sweep_id"] is not None for job in jobs)
    if len(jobs) != len(user.programs) + trials + 1:
        violations.append(f"{len(jobs)} jobs, {len(user.programs)} were submitted, {trials} trials")
    violations += [
        f"job {job['id']}: the notes are {job['notes']!r} instead of {user.notes[job['id']]!r}"
        for job in jobs
        if job["notes"] != user.notes.get(job["id"], job["notes"])
    ]
    (reported,) = (job["id"] for job in jobs if job["reported"])
    if await asyncio.to_thread(stored_points, stack, reported) != expected_points(POINTS):
        violations.append("the points of the reported run are not what it reported")
    violations += user.errors
    violations += comparison.client_violations(watchers.of_job, logs)
    violations += all_jobs()
    violations += comparison.failure_violations(logs)
    violations += comparison.metric_violations(stack, user.programs, statuses, references)
    violations += comparison.row_violations(stack)
    violations += comparison.process_violations(stack)
    return violations, logs


async def failure_of(check: Callable[[], object]) -> list[str]:
    try:
        await asyncio.to_thread(check)
    except AssertionError as error:
        return [str(error)]
    return []
