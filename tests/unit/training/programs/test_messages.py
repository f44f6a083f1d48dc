from __future__ import annotations

import json
import math
import os
import threading

import pytest

from training.programs import messages
from training.programs.messages import MessageError

EPOCH = messages.EpochEnded(
    epoch=3, metrics={"loss": 0.5, "accuracy": None}, seconds=0.1, is_best=True
)


@pytest.mark.parametrize(
    "message",
    [
        messages.Started(dataset_size=9, train_samples=6, val_samples=2, resumed_from_epoch=1),
        messages.Note(message="A checkpoint is damaged."),
        messages.BatchProgress(epoch=1, batch=2, total_batches=3, loss=0.5),
        EPOCH,
        messages.GenerationProgress(current=1, total=2, message="half"),
        messages.TrainingCompleted(checkpoint_path="/c", evaluation={"test": {"samples": 3}}),
        messages.TrainingCompleted(checkpoint_path="/c"),
        messages.GenerationCompleted(path="/d", content_hash="ab", facts={"samples": 3}),
        messages.Paused(),
        messages.Failed(error_message="No disk."),
    ],
    ids=lambda message: type(message).__name__,
)
def test_decoded_message_equals_the_encoded_one(message: messages.Message) -> None:
    line = messages.encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert messages.decode(line) == message


@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_message_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    deep = '{"type": "note", "message": ' + "[" * depth + r'"\u0000"' + "]" * depth + "}"
    with pytest.raises(MessageError):
        messages.decode(deep.encode())


def test_non_finite_numbers_are_null() -> None:
    line = messages.encode(
        messages.EpochEnded(
            epoch=1, metrics={"a": math.nan, "b": math.inf}, seconds=1, is_best=False
        )
    )
    assert json.loads(line, parse_constant=pytest.fail)["metrics"] == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"Epoch 1: loss 0.5", "Invalid JSON"),
        (b'{"epoch": 1}', "type"),
        (b'{"type": "surprise"}', "'surprise'"),
        (b'{"type": "note", "message": "a", "level": 3}', "note.level: "),
        (b'{"type": "epoch", "epoch": "x", "metrics": {}, "seconds": 1, "is_best": false}',
         "epoch.epoch: "),
    ],
)  # fmt: skip
def test_error_for_an_invalid_message_names_the_field(line: bytes, complaint: str) -> None:
    with pytest.raises(MessageError, match=complaint):
        messages.decode(line)


@pytest.mark.parametrize(
    "spec",
    [
        messages.TrainSpec(
            program="localizer", parameters={"epochs": 3}, dataset="/d", run_dir="/r", processes=2
        ),
        messages.GenerateSpec(program="localizer", parameters={"samples": 3}, output="/o"),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_decoded_spec_equals_the_encoded_one(spec: messages.RunSpec) -> None:
    assert messages.decode_spec(messages.encode(spec)) == spec


def test_inference_requests_and_responses_survive_encoding() -> None:
    request = messages.PredictRequest(model="/m", measurements=[{"receiver_id": "a"}])
    assert messages.decode_request(messages.encode(request)) == request
    export = messages.ExportRequest(model="/m", output="/m.onnx")
    assert messages.decode_request(messages.encode(export)) == export
    response = messages.InferenceResponse(error="No signal.", field="measurements.0")
    assert messages.decode_response(messages.encode(response)) == response


def test_complete_lines_are_read_and_an_incomplete_last_one_is_dropped() -> None:
    reading, writing = os.pipe()
    batches = messages.read_lines(reading, timeout=0.01)
    assert next(batches) == []
    os.write(writing, b"one\ntw")
    assert next(batches) == [b"one"]
    os.write(writing, b"o\nthree\nfo")
    assert next(batches) == [b"two", b"three"]
    os.close(writing)
    assert list(batches) == []
    os.close(reading)


def test_line_of_many_reads_is_read_whole() -> None:
    reading, writing = os.pipe()
    line = b"".join(b"%d," % number for number in range(100_000))

    def write() -> None:
        with os.fdopen(writing, "wb") as stream:
            stream.write(line + b"\nnext\n")

    writer = threading.Thread(target=write)
    writer.start()
    read = [one for lines in messages.read_lines(reading, timeout=None) for one in lines]
    writer.join()
    assert read == [line, b"next"]
    os.close(reading)


def test_lines_that_arrive_within_the_interval_are_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if seconds:
            os.write(writing, b"three\n")

    monkeypatch.setattr("time.sleep", sleep)
    batches = messages.read_lines(reading, timeout=0.01, interval=60.0)
    os.write(writing, b"one\n")
    assert next(batches) == [b"one"]  # at once
    os.write(writing, b"two\n")
    assert next(batches) == [b"two", b"three"]
    assert waits[0] == 0
    assert 0 < waits[1] <= 60
    os.close(writing)
    os.close(reading)


def test_full_read_is_followed_by_another_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("It waits.") if seconds else None)
    batches = messages.read_lines(reading, timeout=0.01, interval=60.0)
    os.write(writing, (b"x" * 63 + b"\n") * 1024)  # as much as one read takes
    assert len(next(batches)) == 1024
    os.write(writing, b"y\n")
    assert next(batches) == [b"y"]
    os.close(writing)
    os.close(reading)
