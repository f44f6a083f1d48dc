"""Serves inference requests, one JSON line each (`training.programs.messages`), until idle."""

from __future__ import annotations

import os
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch

from training.localization.inference import export, locate, saved_model
from training.localization.inference.saved_model import SavedModel
from training.programs import messages
from training.programs.messages import ExportRequest, InferenceRequest, InferenceResponse

IDLE_SECONDS = 900.0  # after which the process exits to free its memory
_CACHED_MODELS = 8

_ModelCache = OrderedDict[tuple[str, int], SavedModel]


def serve(requests_fd: int, responses_fd: int, idle: float = IDLE_SECONDS) -> None:
    """Respond until the requests end or pause for `idle` seconds."""
    torch.set_num_threads(1)
    models: _ModelCache = OrderedDict()
    with os.fdopen(responses_fd, "wb", closefd=False) as responses:
        for lines in messages.read_lines(requests_fd, idle):
            if not lines:
                return
            for line in lines:
                for part in _respond(messages.decode_request(line), models):
                    responses.write(part)
                    responses.flush()


def _respond(request: InferenceRequest, models: _ModelCache) -> Iterator[bytes]:
    """Yield the lines of the response."""
    count = 0
    try:
        path = Path(request.model)
        if isinstance(request, ExportRequest):
            export.export(path, Path(request.output))
        else:
            model = _load_cached(path, models)
            rows = cast(list[locate.Row], request.measurements)  # the web process validated them
            for positions in locate.locate(model, rows, request.out_of_service):
                yield messages.encode_block(positions)
                count += len(positions)
        response = InferenceResponse(results=count)
    except locate.InvalidMeasurementError as error:
        response = InferenceResponse(error=error.reason, field=error.field)
    except (saved_model.ModelError, export.ExportError) as error:
        response = InferenceResponse(error=f"{error}.")
    except Exception as error:  # the server must survive a bad request
        traceback.print_exc()
        response = InferenceResponse(error=f"{type(error).__name__}: {error}.")
    yield messages.encode(response)


def _load_cached(path: Path, models: _ModelCache) -> SavedModel:
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
