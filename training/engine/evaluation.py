"""What a trained model is worth: errors and calibration on the test split, beside yardsticks."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.engine import baselines, bounds, metrics
from training.engine.dataset import Dataset
from training.engine.loop import Samples, predict
from training.engine.state import TrainState


def evaluate(state: TrainState, dataset: Dataset) -> dict[str, Any]:
    """On the test split, which neither training nor the choice of the best epoch has seen.

    The covariance is tempered by what the validation split, which lies elsewhere, showed.
    """
    val, test = (Samples.of(dataset, state, split) for split in ("val", "test"))
    temperature = metrics.temperature(predict(state, val)[0], val.metres)
    predicted = predict(state, test)[0].tempered(temperature)
    errors = metrics.position_errors(predicted.mean, test.metres)
    rows = dataset.rows("test")
    good = bounds.good_geometry(dataset, rows)
    bound = bounds.position_error_bound(dataset, rows)
    return {
        "test": {
            "samples": len(test),
            **metrics.error_summary(errors),
            "coverage_68": metrics.coverage(predicted, test.metres, 0.68),
            "coverage_95": metrics.coverage(predicted, test.metres, 0.95),
            "nll": metrics.negative_log_likelihood(predicted, test.metres),
        },
        "temperature": temperature,
        "baselines": baselines.evaluate(dataset),
        "bound_rmse_m": None if bound is None else metrics.rmse(bound[np.isfinite(bound)]),
        "good_geometry": {
            "samples": int(good.mask.sum()),
            "rmse_m": metrics.rmse(errors[good.mask]),
            "bound_rmse_m": None if bound is None else metrics.rmse(bound[good.mask]),
            "definition": good.definition,
        },
    }
