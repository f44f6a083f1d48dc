"""Answers questions to trained models, one JSON line each, for as long as somebody asks.

A line names what to `do` (`locate` or `export`) and a `model` file; the answer has `results`, or
`error` with the `field` that is wrong, if it is one.
"""

from __future__ import annotations

import json
import select
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import torch

from training.localization.inference import export, locate, saved_model
from training.localization.inference.saved_model import SavedModel

IDLE_SECONDS = 900.0  # after which the memory is given back
_KEPT = 8  # models that stay loaded


def serve(questions: TextIO, answers: TextIO, idle: float = IDLE_SECONDS) -> None:
    """Answer until the questions end, or none comes for `idle` seconds."""
    torch.set_num_threads(1)
    models: OrderedDict[tuple[str, int], SavedModel] = OrderedDict()
    for line in _lines(questions, idle):
        answers.write(json.dumps(_answered(json.loads(line), models)) + "\n")
        answers.flush()


def _lines(questions: TextIO, idle: float) -> Iterator[str]:
    while select.select([questions], [], [], idle)[0]:
        line = questions.readline()
        if not line:
            return
        yield line


def _answered(
    question: dict[str, Any], models: OrderedDict[tuple[str, int], SavedModel]
) -> dict[str, Any]:
    try:
        path = Path(question["model"])
        if question["do"] == "export":
            export.export(path, Path(question["output"]))
            return {"results": []}
        model = _loaded(path, models)
        asked = question["measurements"], question.get("out_of_service", ())
        return {"results": locate.locate(model, *asked)}
    except locate.InvalidMeasurementError as error:
        return {"error": error.reason, "field": error.field}
    except (saved_model.ModelError, export.ExportError) as error:
        return {"error": f"{error}.", "field": None}
    except Exception as error:  # the next question may be a better one
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}.", "field": None}


def _loaded(path: Path, models: OrderedDict[tuple[str, int], SavedModel]) -> SavedModel:
    """From memory where it is the same file still."""
    try:
        key = str(path), path.stat().st_mtime_ns
    except OSError as error:
        raise saved_model.ModelError(f"{path} cannot be read: {error.strerror}") from error
    if key not in models:
        models[key] = saved_model.load_model(path)
        while len(models) > _KEPT:
            models.popitem(last=False)
    models.move_to_end(key)
    return models[key]
