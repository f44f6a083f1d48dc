"""Plausible metrics of an epoch, for benchmarks that do not train."""

from __future__ import annotations

import math


def metrics(epoch: int, total: int) -> dict[str, float | None]:
    decay = math.exp(-4 * epoch / total) * (1 + 0.1 * math.sin(epoch))
    rmse = 2_000 + 20_000 * decay
    return {
        "train_loss": -3 + 5 * decay, "val_loss": -2.9 + 5 * decay, "train_rmse": rmse,
        "val_rmse": 1.1 * rmse, "val_mean": rmse, "val_median": 0.6 * rmse, "val_p68": rmse,
        "val_p95": 2 * rmse, "val_rmse_good_geom": 0.9 * rmse, "val_good_geom_samples": 700,
        "val_nll": 18 + decay, "val_coverage_68": 0.68, "val_coverage_95": 0.95,
        "learning_rate": 1e-3,
    }  # fmt: skip
