"""The errors that a job is compared with: the CRLB and the best baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.models import Job, TrainedModel


@dataclass(frozen=True, slots=True)
class ReferenceErrors:
    """RMSE in metres on the test split of the job's dataset; None if unknown."""

    bound: float | None = None
    baseline: float | None = None
    baseline_name: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "bound": self.bound, "baseline": self.baseline, "baseline_name": self.baseline_name,
        }  # fmt: skip


def reference_errors(job: Job, evaluation: dict[str, Any] | None) -> ReferenceErrors:
    """Bound and best baseline of the job, or else of another model on the same dataset.

    Neither depends on the network, so they apply to a job that is still training.
    """
    if evaluation is None:
        same = TrainedModel.objects.filter(job__dataset=job.dataset_id).exclude(job=job)
        evaluation = same.values_list("evaluation", flat=True).first()
    if evaluation is None:
        return ReferenceErrors()
    name, baseline = best_baseline(evaluation) or ("", None)
    return ReferenceErrors(evaluation.get("bound_rmse_m"), baseline, name)


def best_baseline(evaluation: dict[str, Any]) -> tuple[str, float] | None:
    """Name and RMSE of the baseline with the lowest RMSE."""
    rmse = {
        name: baseline["rmse_m"]
        for name, baseline in evaluation.get("baselines", {}).items()
        if baseline.get("rmse_m") is not None
    }
    name = min(rmse, key=lambda name: rmse[name], default=None)
    return (name.replace("_", " "), rmse[name]) if name else None
