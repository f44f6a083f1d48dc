"""The inference server answers each request line with one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from training.localization.inference import export, locate, saved_model
from training.localization.inference.server import serve
from training.programs import messages
from training.programs.messages import (
    ExportRequest,
    InferenceRequest,
    InferenceResponse,
    PredictRequest,
)

Ask = Callable[..., list[InferenceResponse]]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Serve these requests, which arrive together, until their end."""
    reading, writing = os.pipe()

    def run(*requests: InferenceRequest) -> list[InferenceResponse]:
        os.write(writing, b"".join(map(messages.encode, requests)))
        with (tmp_path / "out").open("wb") as out:
            serve(reading, out.fileno(), idle=0.01)
        lines = (tmp_path / "out").read_bytes().splitlines()
        return [messages.decode_response(line) for line in lines if not messages.is_block(line)]

    yield run
    os.close(reading)
    os.close(writing)


def predict(path: Path, **fields: Any) -> PredictRequest:
    row = {"receiver_id": "Torino", "rssi_dbm": -80.0, **fields}
    return PredictRequest(model=str(path), measurements=[row])


def test_requests_that_arrive_together_are_all_answered_in_order(
    ask: Ask, model_file: Path
) -> None:
    good, bad, again = ask(
        predict(model_file), predict(model_file, receiver_id="Roma"), predict(model_file)
    )
    assert good.error is None and good.results == 1
    assert bad.field == "measurements.0.receiver_id"
    assert again == good


def test_unreadable_model_is_an_error(ask: Ask, tmp_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    (found,) = ask(predict(missing))
    assert found.error == f"{missing} cannot be read: No such file or directory."


def test_unexpected_error_is_reported_and_the_server_continues(
    ask: Ask, model_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(locate, "locate", fail)
    assert [one.error for one in ask(predict(model_file), predict(model_file))] == [
        "ZeroDivisionError: by zero."
    ] * 2
    assert "Traceback" in capsys.readouterr().err


def test_failed_export_is_an_error(
    ask: Ask, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise export.ExportError("The export differs from the model")

    monkeypatch.setattr(export, "export", fail)
    (found,) = ask(ExportRequest(model=str(model_file), output=str(tmp_path / "model.pt2")))
    assert found.error == "The export differs from the model."


def test_model_is_loaded_once(ask: Ask, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []
    load = saved_model.load_model

    def count(path: Path) -> saved_model.SavedModel:
        loaded.append(path)
        return load(path)

    monkeypatch.setattr(saved_model, "load_model", count)
    ask(predict(model_file), predict(model_file))
    assert loaded == [model_file]


def test_server_exits_when_its_request_pipe_is_closed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    serve(reading, 2, idle=60)
    os.close(reading)


def test_many_positions_are_written_in_blocks(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "MAX_BATCH_SAMPLES", 2)
    names = ["one", "two", "three", "four", "five"]
    rows = [{"receiver_id": "Torino", "rssi_dbm": -80.0, "sample_id": name} for name in names]
    reading, writing = os.pipe()
    os.write(writing, messages.encode(PredictRequest(model=str(model_file), measurements=[*rows])))
    with (tmp_path / "out").open("wb") as out:
        serve(reading, out.fileno(), idle=0.01)
    os.close(reading)
    os.close(writing)
    *blocks, end = (tmp_path / "out").read_bytes().splitlines()
    assert [len(json.loads(block)) for block in blocks] == [2, 2, 1]
    assert [one["sample_id"] for block in blocks for one in json.loads(block)] == names
    assert messages.decode_response(end) == InferenceResponse(results=5)
