"""The errors that a job is compared with: the CRLB and the best baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from training.models import Job, TrainedModel
from training.models.evaluation import Evaluation


class ReferenceErrorsJson(TypedDict):
    bound: float | None
    baseline: float | None
    baseline_name: str


@dataclass(frozen=True, slots=True)
class ReferenceErrors:
    """RMSE in meters on the test split of the job's dataset; None if unknown."""

    bound: float | None = None
    baseline: float | None = None
    baseline_name: str = ""

    def as_json(self) -> ReferenceErrorsJson:
        return {
            "bound": self.bound, "baseline": self.baseline, "baseline_name": self.baseline_name,
        }  # fmt: skip


def reference_errors(job: Job, evaluation: Evaluation | None) -> ReferenceErrors:
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


def baseline_title(name: str) -> str:
    """The name of a baseline on pages; the API keeps the British spelling that it started with."""
    if name == "extra_trees":
        return "extremely randomized trees"
    return name.replace("_", " ").replace("neighbour", "neighbor")


def best_baseline(evaluation: Evaluation) -> tuple[str, float] | None:
    rmse = {
        name: value
        for name, baseline in evaluation.get("baselines", {}).items()
        if (value := baseline.get("rmse_m")) is not None
    }
    name = min(rmse, key=lambda name: rmse[name], default=None)
    return (baseline_title(name), rmse[name]) if name else None
