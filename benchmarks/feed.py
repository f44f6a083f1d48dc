"""A worker without a trainer: records epochs at a steady rate, and says when each was committed."""

from __future__ import annotations

import math
import sys
import time
from uuid import UUID

import django

django.setup()

from django.db import transaction  # noqa: E402

from training import attempt as attempts  # noqa: E402
from training.publishing import publisher  # noqa: E402


def metrics(epoch: int, total: int) -> dict[str, float | None]:
    """Curves as a training draws them."""
    fall = math.exp(-4 * epoch / total) * (1 + 0.1 * math.sin(epoch))
    rmse = 2_000 + 20_000 * fall
    return {
        "train_loss": -3 + 5 * fall, "val_loss": -2.9 + 5 * fall, "train_rmse": rmse,
        "val_rmse": 1.1 * rmse, "val_mean": rmse, "val_median": 0.6 * rmse, "val_p68": rmse,
        "val_p95": 2 * rmse, "val_rmse_good_geom": 0.9 * rmse, "val_good_geom_samples": 700,
        "val_nll": 18 + fall, "val_coverage_68": 0.68, "val_coverage_95": 0.95,
        "learning_rate": 1e-3,
    }  # fmt: skip


def main(job_id: str, count: int, rate: float) -> None:
    """`rate` 0: all at once, in one transaction."""
    claimed = attempts.claim(UUID(job_id), "feed")
    assert claimed is not None
    attempt, job = claimed
    attempts.record_started(attempt, 1000, 700, 150)

    def record(epoch: int) -> None:
        told = metrics(epoch, job.total_epochs)
        attempts.record_epoch(attempt, epoch, told, 1 / (rate or 50), False, "/none")

    if not rate:
        with transaction.atomic():
            for epoch in range(1, count + 1):
                record(epoch)
        return
    begin = time.monotonic()
    for epoch in range(1, count + 1):
        time.sleep(max(0.0, begin + epoch / rate - time.monotonic()))
        record(epoch)
        print(epoch, time.time(), flush=True)
    time.sleep(1)
    publisher().stop(timeout=5)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
