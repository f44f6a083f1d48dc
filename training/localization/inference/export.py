"""A trained model for other programs: `torch.export` and ONNX, each checked before it is kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.localization.geometry import Floats
from training.localization.inference.saved_model import SavedModel, load_model
from training.localization.localizer.localizer import Localizer
from training.programs.durable_write import move_durably

INPUTS = ("rssi", "snr", "toa", "rx", "in_service")
OUTPUTS = ("position_m", "covariance_m2")
_CHECKED = 37  # samples, another number than the one it is traced with
_TOLERANCE = 1e-3  # of an error in metres, relative to the standard deviation

Run = Callable[[tuple[Tensor, ...]], tuple[Floats, Floats]]


class ExportError(Exception):
    """The export failed, or its output differs from the model; the message says which."""


def export(model: Path, output: Path) -> None:
    """Write `model` as `output`: `.pt2` (torch.export) or `.onnx`; any number of samples goes in.

    Inputs are those of `features.Signals` with arrivals less each sample's mean, outputs metres in
    the plane that the model card's dataset names. Raises ExportError where the answers differ.
    """
    trained = load_model(model)
    make = {".pt2": _as_torch, ".onnx": _as_onnx}[output.suffix]
    # A name of its own, so that two makers never write one file.
    aside = output.with_name(f".{output.stem}-{os.getpid()}{output.suffix}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about themselves
            run = make(trained.answer, _example(trained, 5), aside)
            _check(trained.answer, run, _example(trained, _CHECKED))
        move_durably(aside, output)
    finally:
        aside.unlink(missing_ok=True)


def _as_torch(answer: Localizer, example: tuple[Tensor, ...], path: Path) -> Run:
    batch = torch.export.Dim("samples")
    shapes = tuple({0: batch} for _ in example)
    program = torch.export.export(answer, example, dynamic_shapes=shapes)
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()

    def run(asked: tuple[Tensor, ...]) -> tuple[Floats, Floats]:
        mean, covariance = loaded(*asked)
        return mean.detach().numpy(), covariance.detach().numpy()

    return run


def _as_onnx(answer: Localizer, example: tuple[Tensor, ...], path: Path) -> Run:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(
            "ONNX needs three more packages: pip install -r requirements-extra.txt"
        ) from error
    batch = torch.export.Dim("samples")
    torch.onnx.export(
        answer,
        example,
        str(path),
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_shapes=tuple({0: batch} for _ in example),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(asked: tuple[Tensor, ...]) -> tuple[Floats, Floats]:
        fed = {
            one.name: tensor.numpy()
            for one, tensor in zip(session.get_inputs(), asked, strict=True)
        }
        mean, covariance = session.run(None, fed)
        return np.asarray(mean), np.asarray(covariance)

    return run


@torch.no_grad()
def _check(answer: Localizer, run: Run, asked: tuple[Tensor, ...]) -> None:
    mean, covariance = (one.numpy() for one in answer(*asked))
    exported_mean, exported_covariance = run(asked)
    sigma = np.sqrt(np.trace(covariance, axis1=1, axis2=2))
    off = np.abs(exported_mean - mean).max(axis=1) / sigma
    off_covariance = np.abs(exported_covariance - covariance).max(axis=(1, 2)) / sigma**2
    worst = float(max(off.max(), off_covariance.max()))
    if not worst <= _TOLERANCE:
        raise ExportError(
            f"The export answers otherwise than the model, by {worst:.2g} standard deviations; "
            "it was not kept"
        )


def _example(trained: SavedModel, samples: int) -> tuple[Tensor, ...]:
    """Made-up signals of the model's receivers, some of them missing."""
    draw = torch.Generator().manual_seed(samples)
    shape = samples, len(trained.receivers)
    encoder = trained.answer.encoder

    def some(values: Tensor) -> Tensor:
        kept = torch.rand(shape, generator=draw) < 0.7
        return torch.where(kept, values, torch.full(shape, torch.nan))

    noise = [torch.randn(shape, generator=draw) for _ in range(3)]
    place = torch.randn((*shape, 3), generator=draw) * trained.answer.metres_per_unit
    place[..., :2] += encoder.center
    return (
        some(encoder.get_buffer("rssi_level") + 5 * noise[0]),
        some(encoder.get_buffer("snr_level") + 5 * noise[1]),
        some(1e3 * noise[2]),
        place,
        torch.rand(shape, generator=draw) < 0.9,
    )
