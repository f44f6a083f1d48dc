"""TensorBoard event files, read as their writers wrote them."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event as EventMessage
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

from heimdall_sdk import event_files
from heimdall_sdk.crc32c import crc32c
from heimdall_sdk.event_files import DamagedError, Event, read_events
from heimdall_sdk.event_values import Histogram, Hyperparameters, Image, Text, Unsupported, Value
from tests.unit.sdk.recordings import record

DT_FLOAT, DT_DOUBLE, DT_STRING = 1, 2, 7


def only_file(folder: Path) -> Path:
    (found,) = folder.rglob("*tfevents*")
    return found


def values_of(path: Path, offset: int = 0) -> list[tuple[int, str, Value]]:
    return [(event.step, tag, value) for event in read_events(path, offset)
            for tag, value in event.values]  # fmt: skip


def write(path: Path, *values: Any, step: int = 3) -> Path:
    """An event for each summary value."""
    found = [EventMessage(wall_time=1.5, step=step, summary=Summary(value=[one])) for one in values]
    path.write_bytes(b"".join(record(event.SerializeToString()) for event in found))
    return path


def tensor_value(tag: str, plugin: str, **tensor: Any) -> Any:
    dimensions = [TensorShapeProto.Dim(size=size) for size in tensor.pop("shape", ())]
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    shape = TensorShapeProto(dim=dimensions)
    return Summary.Value(
        tag=tag, metadata=metadata, tensor=TensorProto(tensor_shape=shape, **tensor)
    )


@pytest.fixture(params=["tensorboardX", "torch"])
def writer(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = SummaryWriter
    if request.param == "torch":
        found = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    return found


def test_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 4098, 8191, 10_007, 70_001])
def test_checksum_of_long_data_equals_that_of_the_table(size: int) -> None:
    from tensorboardX.crc32c import crc32c as reference

    data = random.Random(size).randbytes(size)
    assert crc32c(data) == reference(data)


def test_scalars_of_a_writer_have_their_steps_and_times(
    tmp_path: Path, writer: Callable[..., Any]
) -> None:
    with writer(str(tmp_path)) as log:
        for step in range(100):
            log.add_scalar("loss/train", 1 / (step + 1), step, walltime=1000.5 + step)
        log.add_scalar("gap", math.nan, 7)
        log.add_scalar("gap", -math.inf, 2**40)
    events = [event for event in read_events(only_file(tmp_path)) if event.values]
    expected = [(step, 1000.5 + step, float(np.float32(1 / (step + 1)))) for step in range(100)]
    assert [
        (event.step, event.wall_time, value)
        for event in events for tag, value in event.values if tag == "loss/train"
    ] == expected  # fmt: skip
    gaps = [(event.step, value) for event in events for tag, value in event.values if tag == "gap"]
    assert str(gaps) == str([(7, math.nan), (2**40, -math.inf)])


def test_scalars_of_the_new_style_are_read(tmp_path: Path) -> None:
    log = pytest.importorskip("torch.utils.tensorboard").SummaryWriter(str(tmp_path))
    log.add_scalar("loss", 0.25, 4, new_style=True)
    log.add_scalar("double", 0.1, 4, new_style=True, double_precision=True)
    log.close()
    assert values_of(only_file(tmp_path)) == [(4, "loss", 0.25), (4, "double", 0.1)]


def test_percentiles_of_a_histogram_are_those_of_its_values(
    tmp_path: Path, writer: Callable[..., Any]
) -> None:
    data = np.random.default_rng(1).normal(2.0, 3.0, 10_000)
    with writer(str(tmp_path)) as log:
        log.add_histogram("weights", data, 5)
    ((step, tag, value),) = values_of(only_file(tmp_path))
    assert isinstance(value, Histogram)
    found = value.percentiles()
    assert (step, tag, list(found)) == (5, "weights", ["p05", "p25", "p50", "p75", "p95"])
    for percent, (_, percentile) in zip((5, 25, 50, 75, 95), found.items(), strict=True):
        # The buckets of both writers are 10 % wide, or a 64th of the range.
        assert percentile == pytest.approx(np.percentile(data, percent), rel=0.1, abs=0.3)


def test_histogram_of_one_value_has_it_as_each_percentile(
    tmp_path: Path, writer: Callable[..., Any]
) -> None:
    with writer(str(tmp_path)) as log:
        log.add_histogram("biases", np.zeros(8), 0)
    ((_, _, value),) = values_of(only_file(tmp_path))
    assert isinstance(value, Histogram)
    assert set(value.percentiles().values()) == {0.0}


def test_texts_of_a_writer_are_read(tmp_path: Path, writer: Callable[..., Any]) -> None:
    with writer(str(tmp_path)) as log:
        log.add_text("note", "caf\u00e9", 3)
    ((step, tag, text),) = values_of(only_file(tmp_path))
    assert (step, tag.removesuffix("/text_summary"), text) == (3, "note", Text("caf\u00e9"))


def test_images_are_read_with_their_format(tmp_path: Path) -> None:
    contents = [b"\x89PNG\r\n", b"GIF89a", b"\xff\xd8\xff\xe0", b"RIFF....WEBP", b"BM"]
    path = write(
        tmp_path / "events",
        *(
            Summary.Value(tag="digits", image=Summary.Image(encoded_image_string=content))
            for content in contents
        ),
    )
    suffixes = [".png", ".gif", ".jpg", ".webp", ""]
    assert [value for _, _, value in values_of(path)] == list(map(Image, contents, suffixes))


def test_hyperparameters_of_a_writer_are_read(tmp_path: Path, writer: Callable[..., Any]) -> None:
    given = {"lr": 0.5, "layers": 3, "name": "x", "bias": True}
    with writer(str(tmp_path)) as log:
        log.add_hparams(given, {"accuracy": 0.75})
    found = [value for path in tmp_path.rglob("*tfevents*") for _, _, value in values_of(path)]
    assert Hyperparameters(given) in found
    assert 0.75 in found


def test_tensors_of_tensorflow_2_are_read(tmp_path: Path) -> None:
    rows = struct.pack("<9d", 0, 1, 2, 1, 2, 4, 2, 4, 4)
    path = write(
        tmp_path / "events",
        tensor_value("loss", "scalars", dtype=DT_FLOAT, float_val=[0.125]),
        tensor_value("loss", "scalars", dtype=DT_DOUBLE, tensor_content=struct.pack("<d", 0.1)),
        tensor_value("weights", "histograms", dtype=DT_DOUBLE, shape=(3, 3), tensor_content=rows),
        tensor_value("digits", "images", dtype=DT_STRING, shape=(4,),
                     string_val=[b"1", b"1", b"GIF89a", b"\xff\xd8\xff\xe0"]),
        tensor_value("note", "text", dtype=DT_STRING, shape=(2,), string_val=[b"a", b"b"]),
        tensor_value("curve", "pr_curves", dtype=DT_FLOAT, shape=(2,), float_val=[1.0, 2.0]),
    )  # fmt: skip
    histogram = Histogram((0.0, 1.0, 2.0, 4.0), (2.0, 4.0, 4.0))
    assert values_of(path) == [
        (3, "loss", 0.125),
        (3, "loss", 0.1),
        (3, "weights", histogram),
        (3, "digits", Image(b"GIF89a", ".gif")),
        (3, "digits", Image(b"\xff\xd8\xff\xe0", ".jpg")),
        (3, "note", Text("a\nb")),
        (3, "curve", Unsupported("values of the plugin 'pr_curves'")),
    ]
    assert histogram.percentiles() == {"p05": 0.25, "p25": 1.125, "p50": 1.75, "p75": 2.75,
                                       "p95": 3.75}  # fmt: skip


def test_negative_step_is_read_as_such(tmp_path: Path) -> None:
    path = write(tmp_path / "events", Summary.Value(tag="loss", simple_value=1.0), step=-1)
    assert values_of(path) == [(-1, "loss", 1.0)]


def test_growing_file_yields_each_record_once_as_soon_as_it_is_complete(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "whole")) as log:
        for step in range(12):
            log.add_scalar("loss", step, step)
    content = only_file(tmp_path / "whole").read_bytes()
    path = tmp_path / "growing"
    path.touch()
    offset, found = 0, list[Event]()
    with path.open("ab", buffering=0) as growing:
        for position in range(len(content)):
            growing.write(content[position : position + 1])
            new = list(read_events(path, offset))
            assert len(new) <= 1
            if new:
                offset = new[-1].end
                assert offset == position + 1, "the record was complete before"
            found += new
    assert found == list(read_events(path))
    assert [event.step for event in found if event.values] == list(range(12))


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "events", *(Summary.Value(tag="loss", simple_value=one) for one in (1.0, 2.0))
    )
    content = path.read_bytes()
    size = len(content) // 2
    for position in range(size, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        events = read_events(path)
        assert next(events).values == [("loss", 1.0)]
        with pytest.raises(DamagedError, match=f"damaged at byte {size}: ") as raised:
            next(events)
        assert raised.value.position == size


def test_invalid_event_with_valid_checksums_counts_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "events"
    for content in (b"\x0a\xff\xff\xff", b"\x08", b"\x2a\x02\x0a\x05", b"\x07"):
        path.write_bytes(record(content))
        with pytest.raises(DamagedError, match="the record is not an event"):
            list(read_events(path))


def test_random_content_of_records_is_an_event_or_damage(tmp_path: Path) -> None:
    def outcome(path: Path) -> str:
        try:
            (_,) = read_events(path)
        except DamagedError as error:
            return f"damaged at {error.position}"
        return "one event"

    path, rng, outcomes = tmp_path / "events", random.Random(1), set()
    for _ in range(300):
        path.write_bytes(record(rng.randbytes(rng.randrange(1, 40))))
        outcomes.add(outcome(path))
    assert outcomes == {"one event", "damaged at 0"}


def test_record_that_is_too_large_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "events",
        Summary.Value(tag="large", image=Summary.Image(encoded_image_string=bytes(10_000))),
        Summary.Value(tag="loss", simple_value=1.0),
    )
    monkeypatch.setattr(event_files, "MAX_READ_BYTES", 1 << 10)
    (_, _, first), second = values_of(path)
    assert isinstance(first, Unsupported)
    assert second == (3, "loss", 1.0)
