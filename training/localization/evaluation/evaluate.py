"""Evaluate a trained model on the test split, with baselines and bounds for comparison."""

from __future__ import annotations

import numpy as np

from training.localization import metrics
from training.localization.data.dataset import Dataset
from training.localization.data.splits import AT_RANDOM, describe_split, independent_groups
from training.localization.evaluation import baselines, bayes_optimum, cramer_rao, report
from training.localization.evaluation.types import Evaluation, MemberErrors
from training.localization.evaluation.verdict import assess
from training.localization.geometry import Floats
from training.localization.localizer.localizer import (
    Localizer,
    locate_by_members,
    predict_split,
)
from training.localization.localizer.portfolio import POSTERIOR, TREES


def evaluate_localizer(localizer: Localizer, dataset: Dataset) -> Evaluation:
    rows = dataset.rows("test")
    target = dataset.target[rows].astype(float)
    predicted = predict_split(localizer, dataset, rows)
    predicted_95 = predicted.with_temperature(localizer.stretch_95)
    errors = metrics.position_errors(predicted.mean, target)
    good = cramer_rao.find_good_geometry(dataset, rows)
    bound = cramer_rao.position_error_bound(dataset, rows)
    member_errors = {
        name: metrics.position_errors(mean, target)
        for name, mean in locate_by_members(localizer, dataset, rows).items()
    }
    baseline_errors = baselines.evaluate_baselines(dataset)
    for name in (TREES, POSTERIOR):
        if name in member_errors:
            baseline_errors[name] = member_errors[name]
    group = independent_groups(dataset.split_by, dataset.group[rows], target)
    optimum = bayes_optimum.posterior_mean(dataset, rows)
    return {
        "verdict": assess(
            errors,
            baseline_errors,
            metrics.inside_ellipses(predicted, target, 0.68),
            group,
            len(dataset.rows("train")),
        ),
        "test": {
            "samples": len(rows),
            **metrics.error_summary(errors),
            "coverage_68": metrics.coverage(predicted, target, 0.68),
            "coverage_95": metrics.coverage(predicted_95, target, 0.95),
            "nll": metrics.negative_log_likelihood(predicted, target),
        },
        "members": _summarize_members(localizer, member_errors),
        "temperature": localizer.temperature,
        "stretch_95": localizer.stretch_95,
        "refined": localizer.refined,
        "split": describe_split(dataset.split_by),
        "leaks": dataset.split_by == AT_RANDOM,
        "baselines": {
            name: metrics.error_summary(errors) for name, errors in baseline_errors.items()
        },
        "bound_rmse_m": None if bound is None else metrics.rmse(bound[np.isfinite(bound)]),
        "bayes_rmse_m": None if optimum is None else _rmse(optimum, target),
        "good_geometry": {
            "samples": int(good.mask.sum()),
            "rmse_m": metrics.rmse(errors[good.mask]),
            "bound_rmse_m": None if bound is None else metrics.rmse(bound[good.mask]),
            "definition": good.definition,
        },
        "cdf": report.error_cdf(errors, baseline_errors),
        "by_receivers": report.errors_by_receiver_count(dataset, rows, errors),
        "by_gdop": report.errors_by_gdop(dataset, rows, errors),
        "worst": report.largest_errors(dataset, rows, predicted, errors),
        "points": report.sample_predictions(dataset, rows, predicted),
    }


def _summarize_members(localizer: Localizer, errors: dict[str, Floats]) -> dict[str, MemberErrors]:
    if localizer.portfolio is None:
        return {}
    weights = localizer.portfolio.weights
    return {
        name: {"weight": weights[name], **metrics.error_summary(values)}
        for name, values in errors.items()
    }


def _rmse(estimate: Floats, target: Floats) -> float | None:
    return metrics.rmse(metrics.position_errors(estimate, target))
