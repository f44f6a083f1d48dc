"""Six processes that do two things to one job at once, again and again; prints what went wrong.

python -m tests.faults.racer SECONDS        (with the environment of a fresh Heimdall)
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import combinations_with_replacement, pairwise
from typing import Any
from uuid import UUID

RACERS = 6
METRICS = {"val_loss": 1.0, "val_rmse": 1.0}
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")


def actions() -> dict[str, Callable[[Any, Any], object]]:
    """What can be done to a job, each by a user or by the attempt that the round began with."""
    from django.db.models import Q
    from django.db.models.functions import Now

    from training.jobs import attempts, lifecycle, results

    def epoch(job: Any, attempt: Any) -> object:
        now = job.current_epoch + 1
        return attempts.record_epochs(attempt, attempts.EpochReport(now, METRICS, 0.1, True, "/c"))

    return {
        "pause": lambda job, _: lifecycle.request_pause(job, "racer"),
        "cancel": lambda job, _: lifecycle.request_cancel(job, "racer"),
        "resume": lambda job, _: lifecycle.resume(job, "racer"),
        "claim": lambda job, _: attempts.claim(job.pk, "racer"),
        "beat": lambda _, attempt: attempts.heartbeat(attempt),
        "epoch": epoch,
        "complete": lambda _, attempt: results.complete_training(attempt, "/c", {}),
        "paused": lambda _, attempt: results.pause_attempt(attempt),
        "fail": lambda _, attempt: results.fail_attempt(attempt, "raced"),
        "reap": lambda _, attempt: results.requeue_or_fail(
            attempt, "maintenance", "worker_lost", "Lost.", Q(lease_expires_at__gt=Now())
        ),
    }


def race(name: str, job_id: UUID, number: int, barrier: Any) -> str:
    """Do it as everybody else does; what it came to."""
    from training.jobs.attempts import Attempt, SupersededError
    from training.jobs.lifecycle import ConflictError
    from training.models import Job

    job = Job.objects.get(pk=job_id)
    barrier.wait()
    try:
        return "done" if actions()[name](job, Attempt(job_id, number)) is not None else "none"
    except (ConflictError, SupersededError):
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def racer(orders: Any, answers: Any, barrier: Any) -> None:
    import django

    django.setup()
    from training.events import publisher
    from training.jobs import queue

    queue.enqueue = publisher.notify = lambda *_: None
    while (order := orders.get()) is not None:
        answers.put(race(*order, barrier))


def faults_of(job_id: UUID) -> list[str]:
    """What the rows of the job say that cannot be."""
    from training.models import Epoch, Job, JobEvent
    from training.models.states import TRANSITIONS, Status

    job, events = Job.objects.get(pk=job_id), list(JobEvent.objects.filter(job=job_id))
    found = []
    if [event.seq for event in events] != list(range(1, job.seq + 1)):
        found.append("hole in seq")
    statuses = [Status(one.data["status"]) for one in events if "status" in one.data]
    for before, after in pairwise(statuses):
        if after != before and after not in TRANSITIONS[before]:
            found.append(f"illegal: {before} to {after}")
    if statuses[-1] != job.status:
        found.append("status without an event")
    claimed = [one.seq for one in events if one.data.get("cause") == "claimed"]
    if len(claimed) != job.attempt:
        found.append("double claim")
    seqs = {one.data["epoch"]: one.seq for one in events if one.event == "training:progress"
            and not one.data["is_best"]}  # fmt: skip
    for row in Epoch.objects.filter(job=job_id):
        until = claimed[row.attempt] if row.attempt < len(claimed) else job.seq + 1
        if not claimed[row.attempt - 1] < seqs[row.epoch] < until:
            found.append("write of a zombie")
    return found


def prepare(dataset: Any, owner: Any, chance: random.Random) -> tuple[UUID, int]:
    """A job in any state, and its newest attempt."""
    from training.jobs import attempts, lifecycle, results
    from training.localization.config import TrainConfig

    job = lifecycle.submit(owner, dataset, TrainConfig(epochs=5))
    state = chance.choice(["queued", "running", "running", "running", "paused", "failed"])
    if state == "queued":
        return job.pk, 0
    attempt, _ = attempts.claim(job.pk, "first") or sys.exit("no claim")
    if state == "paused":
        results.pause_attempt(attempt)
    elif state == "failed":
        results.fail_attempt(attempt, "before")
    return job.pk, attempt.number


def main(seconds: float) -> None:
    spawn = multiprocessing.get_context("spawn")
    orders = [spawn.SimpleQueue() for _ in range(RACERS)]
    answers, barrier = spawn.SimpleQueue(), spawn.Barrier(RACERS)
    processes = [spawn.Process(target=racer, args=[one, answers, barrier]) for one in orders]
    for one in processes:
        one.start()

    import django

    django.setup()
    from django.contrib.auth.models import User

    from training.events import publisher
    from training.jobs import queue
    from training.models import Dataset

    queue.enqueue = publisher.notify = lambda *_: None
    dataset, owner = Dataset.objects.get(), User.objects.get(username="ada")
    pairs, chance = list(combinations_with_replacement(actions(), 2)), random.Random(1)
    came_to: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    rounds, until = 0, 0.0
    while rounds < len(pairs) or time.monotonic() < until:
        pair = pairs[rounds % len(pairs)]
        job_id, number = prepare(dataset, owner, chance)
        for index, order in enumerate(orders):
            order.put((pair[index % 2], job_id, number))
        for _ in orders:
            came_to[answers.get()] += 1
        faults.update(faults_of(job_id))
        rounds += 1
        until = until or time.monotonic() + seconds
    for order in orders:
        order.put(None)
    for one in processes:
        one.join()
    found = {"rounds": rounds, "pairs": len(pairs), "came_to": came_to, "faults": faults}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]))
