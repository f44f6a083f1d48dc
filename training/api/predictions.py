"""Predictions of a trained model, for the API and the page of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from rest_framework.exceptions import NotFound

from training.accounts import limits
from training.api.schemas import Predict
from training.inference.client import InferenceError, inference_client
from training.models import TrainedModel
from training.programs.checkpoint_files import MODEL
from training.programs.measurements import MeasurementError, relative_arrivals
from training.programs.messages import PredictRequest
from training.programs.positions import Positions
from training.validation import InvalidInputError, validate
from training.validation import sentence as as_sentence

# The signals of a dataset's facts, and the fields of a measurement that have them.
SIGNAL_FIELDS = {"rssi": "rssi_dbm", "snr": "snr_db", "toa": "toa_ns"}


def predict(user: User, model: TrainedModel, sent: Mapping[str, Any]) -> Positions:
    """Raises InvalidInputError, NotFound without the model's file, and what the client raises.

    Numbers of `sent` are as exact as they were typed: arrival times have more digits than a float.
    """
    data = validate(Predict, sent).model_dump(exclude_none=True)
    _check_signals(model, data["measurements"])
    _make_arrivals_relative(data["measurements"], sent["measurements"])
    file = model_file(model)
    if not file.exists():
        raise NotFound(
            "This model's file is missing: it was deleted, or created by an older version."
        )
    try:
        with limits.hold(user, limits.PREDICTIONS):
            found = inference_client().request(PredictRequest(model=str(file), **data))
        return Positions(found.blocks, found.response.results)
    except InferenceError as error:
        raise InvalidInputError({error.field or "": [str(error)]}) from error


def model_file(model: TrainedModel) -> Path:
    return Path(model.checkpoint_path).with_name(MODEL)


def known_signals(model: TrainedModel) -> list[str]:
    """The fields of a measurement that the model was trained with; all if that is not recorded."""
    facts = model.job.dataset.facts if model.job.dataset else {}
    known = [SIGNAL_FIELDS[name] for name in facts.get("signals", []) if name in SIGNAL_FIELDS]
    return known or [*SIGNAL_FIELDS.values()]


def _check_signals(model: TrainedModel, rows: Sequence[Mapping[str, Any]]) -> None:
    """To a model that knows signal strengths only, an SNR is the same as no reading at all."""
    known = known_signals(model)
    for index, row in enumerate(rows):
        for field in SIGNAL_FIELDS.values():
            if field in row and field not in known:
                sentence = f"The model was not trained with {field}; it uses {' and '.join(known)}."
                raise InvalidInputError({f"measurements.{index}.{field}": [sentence]})


def _make_arrivals_relative(rows: list[dict[str, Any]], sent: Any) -> None:
    """From the numbers as they were sent: those of the validated rows are floats."""
    try:
        arrivals = relative_arrivals(
            [row.get("sample_id", "") for row in rows], [row.get("toa_ns") for row in sent]
        )
    except MeasurementError as error:
        raise InvalidInputError({"measurements": [as_sentence(error)]}) from error
    for row, arrival in zip(rows, arrivals, strict=True):
        if arrival is not None:
            row["toa_ns"] = arrival
