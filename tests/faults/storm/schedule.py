"""The schedule of faults, derived from the seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.faults.job_observation import LEASE_SECONDS

REPORT_SILENCE_SECONDS = 5


class Kind(NamedTuple):
    """How long a fault lasts, and about how long it takes to restart what it ended, in seconds."""

    shortest: float = 0
    longest: float = 0
    restart: float = 0


class Lane(NamedTuple):
    """Faults that are caused one after the other; those of two lanes overlap."""

    longest_pause: float
    kinds: dict[str, Kind]


LANES = {
    "processes": Lane(
        1.5,
        {
            "web process, kill -9": Kind(0.2, 3, restart=3),
            "web process frozen": Kind(0.5, 7),
            "worker, kill -9": Kind(0.2, 3, restart=4),
            "worker, SIGTERM": Kind(0, 2, restart=6),
            "worker frozen for less than a lease": Kind(0.5, LEASE_SECONDS - 2),
            "worker frozen for more than a lease": Kind(LEASE_SECONDS + 1, 2 * LEASE_SECONDS),
            "supervisor, kill -9": Kind(),
            "trainer, kill -9": Kind(),
            "trainer frozen": Kind(0.5, LEASE_SECONDS + 2),
            "reported run frozen": Kind(REPORT_SILENCE_SECONDS - 3, REPORT_SILENCE_SECONDS + 3),
        },
    ),
    "broker": Lane(
        4,
        {
            "broker, kill -9": Kind(0.5, 5, restart=5),
            "broker frozen": Kind(0.5, 7),
            "broker out of memory": Kind(0.5, 7, restart=2),
            "broker connections closed": Kind(restart=1),
        },
    ),
    "database": Lane(
        5,
        {
            "database connections cut": Kind(),
            "database refused": Kind(0.5, LEASE_SECONDS + 3),
            "disk full": Kind(0.5, 3),
        },
    ),
}


@dataclass(frozen=True)
class Fault:
    kind: str
    at: float  # seconds after the start of the storm
    seconds: float
    choice: float  # from 0 to 1: which of the processes

    def __str__(self) -> str:
        return f"{self.at:6.1f} s: {self.kind}, {self.seconds:.1f} s, choice {self.choice:.3f}"


def plan(seed: int, seconds: float, without: Collection[str] = ()) -> dict[str, list[Fault]]:
    """The faults of each lane, each kind as often as the others of the lane."""
    return {
        name: list(_plan_lane(random.Random(f"{seed} {name}"), lane, seconds, without))
        for name, lane in LANES.items()
    }


def _plan_lane(
    rng: random.Random, lane: Lane, seconds: float, without: Collection[str]
) -> Iterator[Fault]:
    at, waiting, kinds = 0.0, list[str](), sorted(lane.kinds.keys() - set(without))
    while True:
        at += rng.uniform(0, lane.longest_pause)
        waiting = waiting or rng.sample(kinds, len(kinds))
        name = waiting.pop()
        kind = lane.kinds[name]
        fault = Fault(name, at, rng.uniform(kind.shortest, kind.longest), rng.random())
        at += fault.seconds + kind.restart
        if at > seconds:
            return
        yield fault
