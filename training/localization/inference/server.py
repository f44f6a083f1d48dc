"""Serves inference requests, one JSON line each (`training.programs.messages`), until idle."""

from __future__ import annotations

import os
import select
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import torch

from training.localization.inference import export, locate, saved_model
from training.localization.inference.saved_model import SavedModel
from training.programs import messages
from training.programs.messages import ExportRequest, InferenceRequest, InferenceResponse

IDLE_SECONDS = 900.0  # after which the process exits to free its memory
_CACHED_MODELS = 8

_ModelCache = OrderedDict[tuple[str, int], SavedModel]


def serve(requests: TextIO, responses_fd: int, idle: float = IDLE_SECONDS) -> None:
    """Respond until `requests` ends or is silent for `idle` seconds."""
    torch.set_num_threads(1)
    models: _ModelCache = OrderedDict()
    with os.fdopen(responses_fd, "wb", closefd=False) as responses:
        for line in _read_lines(requests, idle):
            request = messages.decode_request(line.encode())
            responses.write(messages.encode(_respond(request, models)))
            responses.flush()


def _read_lines(requests: TextIO, idle: float) -> Iterator[str]:
    while select.select([requests], [], [], idle)[0]:
        line = requests.readline()
        if not line:
            return
        yield line


def _respond(request: InferenceRequest, models: _ModelCache) -> InferenceResponse:
    try:
        path = Path(request.model)
        if isinstance(request, ExportRequest):
            export.export(path, Path(request.output))
            return InferenceResponse()
        model = _load_cached(path, models)
        return InferenceResponse(
            results=locate.locate(model, request.measurements, request.out_of_service)
        )
    except locate.InvalidMeasurementError as error:
        return InferenceResponse(error=error.reason, field=error.field)
    except (saved_model.ModelError, export.ExportError) as error:
        return InferenceResponse(error=f"{error}.")
    except Exception as error:  # the server must survive a bad request
        traceback.print_exc()
        return InferenceResponse(error=f"{type(error).__name__}: {error}.")


def _load_cached(path: Path, models: _ModelCache) -> SavedModel:
    """Load the model, from memory if its file is unchanged."""
    try:
        key = str(path), path.stat().st_mtime_ns
    except OSError as error:
        raise saved_model.ModelError(f"{path} cannot be read: {error.strerror}") from error
    if key not in models:
        models[key] = saved_model.load_model(path)
        while len(models) > _CACHED_MODELS:
            models.popitem(last=False)
    models.move_to_end(key)
    return models[key]
