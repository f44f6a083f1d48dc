"""`torch.export`; the API's tests cover the download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.localization.data.dataset import Dataset
from training.localization.inference import saved_model
from training.localization.inference.export import export
from training.localization.localizer.features import Signals
from training.localization.localizer.localizer import predict_split


def test_onnx_export_predicts_the_same_as_the_model(
    model_file: Path, arrays: Dataset, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason="needs requirements-extra.txt")
    runtime = pytest.importorskip("onnxruntime", reason="needs requirements-extra.txt")
    export(model_file, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    rows = arrays.rows("test")
    inputs = zip(session.get_inputs(), Signals.from_dataset(arrays, rows), strict=True)
    mean, covariance = session.run(None, {node.name: values.numpy() for node, values in inputs})
    expected = predict_split(saved_model.load_model(model_file).localizer, arrays, rows)
    np.testing.assert_allclose(mean, expected.mean, atol=1.0)
    np.testing.assert_allclose(covariance, expected.covariance, rtol=0.01, atol=1.0)
