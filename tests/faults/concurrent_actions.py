"""Six processes that perform two actions on one job at once, repeatedly; prints violations.

python -m tests.faults.concurrent_actions SECONDS    (with the environment of a new installation)
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

PROCESSES = 6
METRICS = {"val_loss": 1.0, "val_rmse": 1.0}
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")


def actions() -> dict[str, Callable[[Any, Any], object]]:
    """All actions on a job: of a user, or of the attempt with which the round began."""
    from django.db.models import Q
    from django.db.models.functions import Now

    from training.jobs import attempts, lifecycle, results

    def epoch(job: Any, attempt: Any) -> object:
        now = job.current_epoch + 1
        attempts.record_epochs(attempt, attempts.EpochReport(now, METRICS, 0.1, True, "/c"))
        return None

    return {
        "pause": lambda job, _: lifecycle.request_pause(job, "tester"),
        "cancel": lambda job, _: lifecycle.request_cancel(job, "tester"),
        "resume": lambda job, _: lifecycle.resume(job, "tester"),
        "claim": lambda job, _: attempts.claim(job.pk, "tester"),
        "heartbeat": lambda _, attempt: attempts.extend_lease(attempt) or None,
        "epoch": epoch,
        "complete": lambda _, attempt: results.complete_training(attempt, "/c", {}),
        "paused": lambda _, attempt: results.pause_attempt(attempt),
        "fail": lambda _, attempt: results.fail_attempt(attempt, "failed"),
        "requeue": lambda _, attempt: results.requeue_or_fail(
            attempt, "maintenance", "worker_lost", "Lost.", Q(lease_expires_at__gt=Now())
        ),
    }


def perform(name: str, job_id: UUID, number: int, barrier: Any) -> str:
    """Perform the action at the same time as the other processes; return its outcome."""
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


def send_nothing() -> None:
    """Let jobs and events wait in the database."""
    from realtime.publisher import Publisher
    from training.jobs import queue

    setattr(queue, "enqueue", lambda *_: None)  # noqa: B010
    setattr(Publisher, "notify", lambda *_: None)  # noqa: B010


def run_actions(orders: Any, answers: Any, barrier: Any) -> None:
    import django

    django.setup()
    send_nothing()
    while (order := orders.get()) is not None:
        name, job_id, number = order
        answers.put(perform(name, job_id, number, barrier))


def violations_of(job_id: UUID) -> list[str]:
    """Return how the rows of the job contradict each other."""
    from training.models import Epoch, Job, JobEvent
    from training.models.states import TRANSITIONS, Status

    job, events = Job.objects.get(pk=job_id), list(JobEvent.objects.filter(job=job_id))
    found = []
    if [event.seq for event in events] != list(range(1, job.seq + 1)):
        found.append("gap in seq")
    statuses = [Status(event.data["status"]) for event in events if "status" in event.data]
    for before, after in pairwise(statuses):
        if after != before and after not in TRANSITIONS[before]:
            found.append(f"invalid transition: {before} to {after}")
    if statuses[-1] != job.status:
        found.append("status without an event")
    claimed = [event.seq for event in events if event.data.get("cause") == "claimed"]
    if len(claimed) != job.attempt:
        found.append("double claim")
    seqs = {event.data["epoch"]: event.seq for event in events if event.event == "training:progress"
            and not event.data["is_best"]}  # fmt: skip
    for row in Epoch.objects.filter(job=job_id):
        until = claimed[row.attempt] if row.attempt < len(claimed) else job.seq + 1
        if not claimed[row.attempt - 1] < seqs[row.epoch] < until:
            found.append("write of an outdated attempt")
    return found


def prepare(dataset: Any, owner: Any, rng: random.Random) -> tuple[UUID, int]:
    """Create a job in a random state; return its ID and latest attempt."""
    from training.jobs import attempts, lifecycle, results
    from training.localization.config import TrainConfig

    job = lifecycle.submit(owner, dataset, TrainConfig(epochs=5))
    state = rng.choice(["queued", "running", "running", "running", "paused", "failed"])
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
    orders = [spawn.SimpleQueue() for _ in range(PROCESSES)]
    answers, barrier = spawn.SimpleQueue(), spawn.Barrier(PROCESSES)
    processes = [
        spawn.Process(target=run_actions, args=[queue, answers, barrier]) for queue in orders
    ]
    for process in processes:
        process.start()

    import django

    django.setup()
    from django.contrib.auth.models import User

    from training.models import Dataset

    send_nothing()
    dataset, owner = Dataset.objects.get(), User.objects.get(username="ada")
    pairs, rng = list(combinations_with_replacement(actions(), 2)), random.Random(1)
    outcomes: Counter[str] = Counter()
    violations: Counter[str] = Counter()
    rounds, until = 0, 0.0
    while rounds < len(pairs) or time.monotonic() < until:
        pair = pairs[rounds % len(pairs)]
        job_id, number = prepare(dataset, owner, rng)
        for index, order in enumerate(orders):
            order.put((pair[index % 2], job_id, number))
        for _ in orders:
            outcomes[answers.get()] += 1
        violations.update(violations_of(job_id))
        rounds += 1
        until = until or time.monotonic() + seconds
    for order in orders:
        order.put(None)
    for process in processes:
        process.join()
    found = {"rounds": rounds, "pairs": len(pairs), "outcomes": outcomes, "violations": violations}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]))
