"""Export of a model to `torch.export` and ONNX; each file is compared with the model."""

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
_TRACE_SAMPLES = 5
_CHECK_SAMPLES = 37  # not _TRACE_SAMPLES, to check the dynamic dimension
_TOLERANCE = 1e-3  # standard deviations

Run = Callable[[tuple[Tensor, ...]], tuple[Floats, Floats]]


class ExportError(Exception):
    """The export failed, or its output differs from the model's; the message says which."""


def export(model: Path, output: Path) -> None:
    """Export `model` to `output`: `.pt2` (torch.export) or `.onnx`, for any number of samples.

    Inputs are `features.Signals`, with the sample's mean subtracted from arrival times; outputs are
    meters in the model's local frame. Raises ExportError if the outputs differ.
    """
    trained = load_model(model)
    convert = {".pt2": _as_torch, ".onnx": _as_onnx}[output.suffix]
    # One file per process: two may export at once.
    temporary = output.with_name(f".{output.stem}-{os.getpid()}{output.suffix}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the libraries
            run = convert(trained.localizer, _random_inputs(trained, _TRACE_SAMPLES), temporary)
            _check(trained.localizer, run, _random_inputs(trained, _CHECK_SAMPLES))
        move_durably(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)


def _as_torch(localizer: Localizer, example: tuple[Tensor, ...], path: Path) -> Run:
    batch = torch.export.Dim("samples")
    shapes = tuple({0: batch} for _ in example)
    program = torch.export.export(localizer, example, dynamic_shapes=shapes)
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()

    def run(inputs: tuple[Tensor, ...]) -> tuple[Floats, Floats]:
        mean, covariance = loaded(*inputs)
        return mean.detach().numpy(), covariance.detach().numpy()

    return run


def _as_onnx(localizer: Localizer, example: tuple[Tensor, ...], path: Path) -> Run:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(
            "ONNX needs three more packages: pip install -r requirements-extra.txt"
        ) from error
    batch = torch.export.Dim("samples")
    torch.onnx.export(
        localizer,
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

    def run(inputs: tuple[Tensor, ...]) -> tuple[Floats, Floats]:
        feeds = {
            node.name: tensor.numpy()
            for node, tensor in zip(session.get_inputs(), inputs, strict=True)
        }
        mean, covariance = session.run(None, feeds)
        return np.asarray(mean), np.asarray(covariance)

    return run


@torch.no_grad()
def _check(localizer: Localizer, run: Run, inputs: tuple[Tensor, ...]) -> None:
    mean, covariance = (output.numpy() for output in localizer(*inputs))
    exported_mean, exported_covariance = run(inputs)
    sigma = np.sqrt(np.trace(covariance, axis1=1, axis2=2))
    mean_deviation = np.abs(exported_mean - mean).max(axis=1) / sigma
    covariance_deviation = np.abs(exported_covariance - covariance).max(axis=(1, 2)) / sigma**2
    worst = float(max(mean_deviation.max(), covariance_deviation.max()))
    if not worst <= _TOLERANCE:
        raise ExportError(
            f"The export differs from the model by {worst:.2g} standard deviations; its file was "
            "deleted"
        )


def _random_inputs(trained: SavedModel, samples: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(samples)
    shape = samples, len(trained.receivers)
    encoder = trained.localizer.encoder

    def with_gaps(values: Tensor) -> Tensor:
        present = torch.rand(shape, generator=generator) < 0.7
        return torch.where(present, values, torch.full(shape, torch.nan))

    noise = [torch.randn(shape, generator=generator) for _ in range(3)]
    position = torch.randn((*shape, 3), generator=generator) * trained.localizer.meters_per_unit
    position[..., :2] += encoder.center
    return (
        with_gaps(encoder.get_buffer("rssi_level") + 5 * noise[0]),
        with_gaps(encoder.get_buffer("snr_level") + 5 * noise[1]),
        with_gaps(1e3 * noise[2]),
        position,
        torch.rand(shape, generator=generator) < 0.9,
    )
