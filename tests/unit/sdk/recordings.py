"""Files as other tools write them."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Mapping
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


def write_mlflow_database(path: Path) -> Path:
    """One run, in the tables of MLflow 3 as far as they are read."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript("""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
            CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time INTEGER,
                               lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT,
                                  step INTEGER, is_nan INTEGER);
            INSERT INTO experiments VALUES (1, 'letters');
            INSERT INTO runs VALUES ('a1', 'stored', 'FINISHED', 1700000000000, 'active',
                                     's3://bucket/x', 1);
            INSERT INTO runs VALUES ('b1', 'deleted', 'FINISHED', 1, 'deleted', '', 1);
            INSERT INTO params VALUES ('lr', '0.1', 'a1');
            INSERT INTO tags VALUES ('stage', 'test', 'a1');
            INSERT INTO metrics VALUES ('loss', 0.5, 1700000001000, 'a1', 1, 0),
                ('loss', 0.0, 1700000002000, 'a1', 2, 1),
                ('loss', 1.7976931348623157e308, 1700000003000, 'a1', 3, 0);
        """)
    return path
