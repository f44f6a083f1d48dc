"""The errors that a job is compared with: the bound and the best baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.models import Job, TrainedModel


@dataclass(frozen=True, slots=True)
class ReferenceErrors:
    """What to compare with, on the test split of the job's dataset: metres, None where unknown."""

    bound: float | None = None
    baseline: float | None = None
    baseline_name: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "bound": self.bound, "baseline": self.baseline, "baseline_name": self.baseline_name,
        }  # fmt: skip


def reference_errors(job: Job, evaluation: dict[str, Any] | None) -> ReferenceErrors:
    """Bound and best baseline: the job's own, or else of another model on the same dataset.

    Neither depends on the network, so a job that still trains can be held against them.
    """
    if evaluation is None:
        same = TrainedModel.objects.filter(job__dataset=job.dataset_id).exclude(job=job)
        evaluation = same.values_list("evaluation", flat=True).first()
    if evaluation is None:
        return ReferenceErrors()
    named = {
        name: found["rmse_m"]
        for name, found in evaluation.get("baselines", {}).items()
        if found.get("rmse_m") is not None
    }
    best = min(named, key=lambda name: named[name], default="")
    return ReferenceErrors(evaluation.get("bound_rmse_m"), named.get(best), best.replace("_", " "))
