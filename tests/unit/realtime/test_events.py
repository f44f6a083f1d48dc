"""One golden frame for each event, so that the wire format does not change unnoticed."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from realtime import events

JOB = UUID("0a3f9d5e-8f0e-4c9d-9d83-0d6b7c1f2a3b")
AT = datetime(2026, 5, 4, 3, 2, 1, 600, tzinfo=UTC)
METRICS = {"train_loss": 1.5, "val_loss": math.nan, "val_rmse": math.inf}

GOLDEN: list[tuple[events.Event, str, dict[str, Any]]] = [
    (
        events.Started(
            job_id=JOB, config={"epochs": 2}, dataset_size=9, train_samples=6, val_samples=2
        ),
        "training.started",
        {"config": {"epochs": 2}, "dataset_size": 9, "train_samples": 6, "val_samples": 2,
         "resumed_from_epoch": None},
    ),
    (
        events.Progress(job_id=JOB, epoch=1, total_epochs=2, metrics=METRICS, is_best=True),
        "training.progress",
        {"epoch": 1, "total_epochs": 2, "is_best": True,
         "metrics": {"train_loss": 1.5, "val_loss": None, "val_rmse": None}},
    ),
    (
        events.Progress(job_id=JOB, epoch=1, total_epochs=2, metrics={"loss": 1.5}, step=7),
        "training.progress",
        {"epoch": 1, "total_epochs": 2, "is_best": False, "step": 7, "metrics": {"loss": 1.5}},
    ),
    (
        events.Progress(job_id=JOB, epoch=0, total_epochs=0, metrics={}, progress_percent=40.0,
                        estimated_end_at=AT),
        "training.progress",
        {"epoch": 0, "total_epochs": 0, "is_best": False, "metrics": {}, "progress_percent": 40.0,
         "estimated_end_at": "2026-05-04T03:02:01.000600Z"},
    ),
    (
        events.Completed(job_id=JOB, best_epoch=1, best_val_loss=0.5, checkpoint_path="/c"),
        "training.completed",
        {"status": "completed", "best_epoch": 1, "best_val_loss": 0.5, "checkpoint_path": "/c"},
    ),
    (
        events.Failed(job_id=JOB, error_message="No disk."),
        "training.completed",
        {"status": "failed", "error_message": "No disk."},
    ),
    (
        events.Paused(job_id=JOB, checkpoint_path=None),
        "training.completed",
        {"status": "paused", "checkpoint_path": None},
    ),
    (events.Cancelled(job_id=JOB), "training.completed", {"status": "cancelled"}),
    (
        events.Status(job_id=JOB, status="running", stop_requested="pause",
                      display_status="pausing", actor="ada", cause="pause_requested"),
        "training.status",
        {"status": "running", "stop_requested": "pause", "display_status": "pausing",
         "actor": "ada", "reason": "", "cause": "pause_requested"},
    ),
    (
        events.Log(job_id=JOB, attempt=2, after=70, text="caf\u00e9\n"),
        "training.log",
        {"attempt": 2, "after": 70, "text": "caf\u00e9\n"},
    ),
    (
        events.BatchProgress(job_id=JOB, epoch=1, batch=2, total_batches=3, loss=0.5),
        "training.batch_progress",
        {"epoch": 1, "batch": 2, "total_batches": 3, "loss": 0.5},
    ),
    (
        events.GenerationProgress(job_id=JOB, current=1, total=2, message="half"),
        "dataset.generation",
        {"current": 1, "total": 2, "message": "half"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "topic", "data"), GOLDEN, ids=[type(event).__name__ for event, *_ in GOLDEN]
)
def test_each_event_is_encoded_with_its_documented_fields(
    event: events.Event, topic: str, data: dict[str, Any]
) -> None:
    frame = events.encode(event.event, 7, AT, event.data())
    assert json.loads(frame, parse_constant=pytest.fail) == {
        "event": event.event,
        "seq": 7,
        "timestamp": "2026-05-04T03:02:01.000600Z",
        "data": {"job_id": str(JOB), **data},
    }
    assert events.routing_key(event.event, JOB) == f"{topic}.{JOB}"


def test_ephemeral_event_has_no_seq() -> None:
    assert "seq" not in json.loads(events.encode("training:batch_progress", None, AT, {}))


def test_undeclared_field_is_rejected() -> None:
    with pytest.raises(ValidationError):
        events.Cancelled(job_id=JOB, unknown="because")  # type: ignore[call-arg]


def test_data_not_representable_in_json_is_omitted(caplog: pytest.LogCaptureFixture) -> None:
    body = events.encode_stored("training:status", 3, AT, JOB, {"job_id": str(JOB), "x": math.nan})
    assert json.loads(body) == {
        "event": "training:status",
        "seq": 3,
        "timestamp": events.timestamp(AT),
        "data": {"job_id": str(JOB)},
    }
    assert f"Left out the data of event 3 of job {JOB}" in caplog.text
