"""What a trained model is worth: errors and calibration on the test split, beside yardsticks."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.localization import metrics
from training.localization.data.dataset import Dataset
from training.localization.data.splits import AT_RANDOM
from training.localization.evaluation import baselines, bayes_optimum, cramer_rao, report
from training.localization.geometry import Floats
from training.localization.localizer.localizer import Localizer, predict_split


def evaluate_localizer(answer: Localizer, dataset: Dataset) -> dict[str, Any]:
    """On the test split, which neither training nor calibration nor any choice has seen."""
    rows = dataset.rows("test")
    target = dataset.target[rows].astype(float)
    predicted = predict_split(answer, dataset, rows)
    errors = metrics.position_errors(predicted.mean, target)
    good = cramer_rao.good_geometry(dataset, rows)
    bound = cramer_rao.position_error_bound(dataset, rows)
    classical = baselines.evaluate_baselines(dataset)
    optimum = bayes_optimum.posterior_mean(dataset, rows)
    return {
        "test": {
            "samples": len(rows),
            **metrics.error_summary(errors),
            "coverage_68": metrics.coverage(predicted, target, 0.68),
            "coverage_95": metrics.coverage(predicted.tempered(answer.stretch_95), target, 0.95),
            "nll": metrics.negative_log_likelihood(predicted, target),
        },
        "temperature": answer.temperature,
        "stretch_95": answer.stretch_95,
        "refined": answer.refined,
        "split": dataset.split_by,
        "leaks": dataset.split_by == AT_RANDOM,
        "baselines": {name: metrics.error_summary(one) for name, one in classical.items()},
        "bound_rmse_m": None if bound is None else metrics.rmse(bound[np.isfinite(bound)]),
        "bayes_rmse_m": _rmse_of(optimum, target),
        "good_geometry": {
            "samples": int(good.mask.sum()),
            "rmse_m": metrics.rmse(errors[good.mask]),
            "bound_rmse_m": None if bound is None else metrics.rmse(bound[good.mask]),
            "definition": good.definition,
        },
        "cdf": report.cdf(errors, classical),
        "by_receivers": report.by_receivers(dataset, rows, errors),
        "by_gdop": report.by_gdop(dataset, rows, errors),
        "worst": report.worst(dataset, rows, predicted, errors),
        "points": report.points(dataset, rows, predicted),
    }


def _rmse_of(found: Floats | None, target: Floats) -> float | None:
    return None if found is None else metrics.rmse(metrics.position_errors(found, target))
