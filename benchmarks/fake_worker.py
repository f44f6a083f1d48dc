"""A worker without a trainer: records epochs at a steady rate, and prints each commit's time."""

from __future__ import annotations

import sys
import time
from uuid import UUID

import django

django.setup()

from django.db import transaction  # noqa: E402

from benchmarks.curves import metrics  # noqa: E402
from training.events.publisher import get_publisher  # noqa: E402
from training.jobs import attempts  # noqa: E402


def main(job_id: str, count: int, rate: float) -> None:
    """Record `count` epochs, `rate` per second; 0: all in one transaction."""
    claimed = attempts.claim(UUID(job_id), "fake-worker")
    assert claimed is not None
    attempt, job = claimed
    attempts.record_started(attempt, 1000, 700, 150)

    def record(epoch: int) -> None:
        values = metrics(epoch, job.total_epochs)
        attempts.record_epochs(
            attempt, attempts.EpochReport(epoch, values, 1 / (rate or 50), False, "/none")
        )

    if not rate:
        with transaction.atomic():
            for epoch in range(1, count + 1):
                record(epoch)
        return
    started = time.monotonic()
    for epoch in range(1, count + 1):
        time.sleep(max(0.0, started + epoch / rate - time.monotonic()))
        record(epoch)
        print(epoch, time.time(), flush=True)
    time.sleep(1)
    get_publisher().stop(timeout=5)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
