"""Files in the formats of other tools."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path


def write_event_file(folder: Path, name: str = "events.out.tfevents.1.host") -> Path:
    """Two scalars at steps 0 to 4, an image and a histogram, with tensorboardX's own classes."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import HistogramProto, Summary

    folder.mkdir(parents=True, exist_ok=True)
    found = [Event(wall_time=100.0, file_version="brain.Event:2")]
    for step in range(5):
        for tag, value in (("train/loss", 1 / (step + 1)), ("train/lr", 0.5)):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            found.append(Event(wall_time=100.0 + step, step=step, summary=summary))
    image = Summary.Value(tag="image", image=Summary.Image(height=1, width=1))
    histogram = Summary.Value(tag="weights", histo=HistogramProto(min=0.0, max=1.0))
    found.append(Event(wall_time=106.0, step=5, summary=Summary(value=[image, histogram])))
    path = folder / name
    path.write_bytes(b"".join(record(event.SerializeToString()) for event in found))
    return path


def scalar_record(tag: str, value: float, step: int) -> bytes:
    """A record of an event file."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return record(Event(wall_time=1e9 + step, step=step, summary=summary).SerializeToString())


def record(content: bytes) -> bytes:
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return length + sums[0] + content + sums[1]


def write_mlruns(
    folder: Path,
    run_id: str = "0123456789abcdef0123456789abcdef",
    status: int = 3,
    tags: Mapping[str, str] | None = None,
) -> Path:
    """A store with one run of the experiment "digits", in the form of MLflow 2 and 3."""
    experiment = folder / "456"
    run = experiment / run_id
    files = {
        experiment / "meta.yaml": "artifact_location: file:///x\nexperiment_id: '456'\n"
        "lifecycle_stage: active\nname: digits\n",
        run / "meta.yaml": "artifact_uri: file:///x/artifacts\nend_time: 1700000009000\n"
        f"experiment_id: '456'\nlifecycle_stage: active\nrun_id: {run_id}\nrun_name: 'it''s'\n"
        f"start_time: 1700000000000\nstatus: {status}\ntags: []\nuser_id: ada\n",
        run / "metrics/val/loss": "1700000001000 0.5 1\n1700000002000 nan 2\n",
        run / "metrics/accuracy": "1700000001000 0.25 1\n1700000002000 0.75 2\n",
        run / "params/lr": "0.01",
        run / "params/optimizer": "adam",
        run / "params/nesterov": "True",
        run / "params/commit": "0012",
        run / "artifacts/plots/loss.txt": "a plot",
    }  # fmt: skip
    for name, text in {"mlflow.runName": "Brave run", "mlflow.user": "ada",
                       "stage": "test", **(tags or {})}.items():  # fmt: skip
        files[run / "tags" / name] = text
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


# Two runs, one of them deleted, in the tables of MLflow 3 as far as they are read.
MLFLOW_TABLES = """
    CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);
    CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time BIGINT,
               end_time BIGINT, lifecycle_stage TEXT, artifact_uri TEXT,
               experiment_id INTEGER);
    CREATE TABLE inputs (source_type TEXT, source_id TEXT, destination_type TEXT,
                 destination_id TEXT);
    CREATE TABLE logged_models (model_id TEXT);
    CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
    CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
    CREATE TABLE metrics (key TEXT, value DOUBLE PRECISION, timestamp BIGINT,
                  run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
    INSERT INTO experiments VALUES (1, 'letters', 'active');
    INSERT INTO runs VALUES ('a1', 'stored', 'FINISHED', 1700000000000, 1700000005000,
             'active', 's3://bucket/1/a1/artifacts', 1);
    INSERT INTO runs VALUES ('b1', 'deleted', 'FINISHED', 1, 2, 'deleted', '', 1);
    INSERT INTO inputs VALUES ('DATASET', 'd1', 'RUN', 'a1');
    INSERT INTO logged_models VALUES ('m-1'), ('m-2');
    INSERT INTO params VALUES ('lr', '0.1', 'a1');
    INSERT INTO tags VALUES ('stage', 'test', 'a1');
    INSERT INTO metrics VALUES ('loss', 0.5, 1700000001000, 'a1', 1, false),
        ('loss', 0.0, 1700000002000, 'a1', 2, true),
        ('loss', 1.7976931348623157e308, 1700000003000, 'a1', 3, false),
        ('loss', 0.25, 1699999999000, 'a1', 1, false),
        ('accuracy', 0.75, 1700000004000, 'a1', 3, false);
"""


def write_mlflow_database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(MLFLOW_TABLES)
    return path


def write_wandb_file(
    folder: Path,
    steps: int = 3,
    exit_code: int | None = 0,
    started_at: int = 1700000000,
    config: Mapping[str, object] | None = None,
    history: Mapping[str, object] | None = None,
) -> Path:
    """An offline run as wandb 0.28 writes it: chunks of records in blocks of 32 KB."""
    run = b"".join([
        _field(1, b"r1"), _field(3, b"digits"), _field(8, b"brave-run"), _field(9, b"A note."),
        _field(10, b"a"), _field(4, _items(config or {"lr": 0.1}) + _item("_wandb", {})),
        _field(17, _number(1, started_at) + _number(2, 500_000_000)),
    ])  # fmt: skip
    records = [_field(17, run)]
    for step in range(steps):
        items = {"loss": 1 / (step + 1), "val.rmse": float("nan") if step == 1 else 2.0 * step,
                 "_step": step, "_timestamp": started_at + 1.5 + step,
                 "_runtime": 1.0}  # fmt: skip
        records.append(_field(2, _items(items)))
    records += [_field(2, _items(history))] if history else []
    image = _item("image._type", "image-file") + _item("image.size", 7) + _item("text", "x")
    records.append(_field(2, image + _item("_step", steps)))
    records.append(_field(3, _item("best", 0.75) + _item("loss", 0.1)))
    if exit_code is not None:
        records.append(_field(18, _number(1, exit_code) + _number(2, 9)))
    path = folder / "wandb" / "offline-run-20260101_000000-r1" / "run-r1.wandb"
    (path.parent / "files").mkdir(parents=True)
    (path.parent / "files" / "notes.txt").write_text("a file")
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        for kind, part in _chunks(record, len(data)):
            data += bytes(-len(data) % 32768 if 32768 - len(data) % 32768 < 7 else 0)
            checksum = zlib.crc32(bytes([kind]) + part)
            data += struct.pack("<IHB", checksum, len(part), kind) + part
    path.write_bytes(data)
    return path


def _chunks(record: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    """The parts of a record that begins at this position, with their kinds."""
    parts, room = [], 32768 - position % 32768 - 7
    room = room if room >= 0 else 32768 - 7
    while len(record) > room:
        parts.append(record[:room])
        record, room = record[room:], 32768 - 7
    parts.append(record)
    for index, part in enumerate(parts):
        kinds = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}
        yield kinds[index == 0, index == len(parts) - 1], part


def _item(name: str, value: object) -> bytes:
    """A nested key, as newer versions write all names, and the value in JSON."""
    keys = b"".join(_field(2, part.encode()) for part in name.split("."))
    return _field(1, keys + _field(16, json.dumps(value).encode()))


def _items(values: Mapping[str, object]) -> bytes:
    return b"".join(_item(name, value) for name, value in values.items())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    found = b""
    while value >= 0x80:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])
