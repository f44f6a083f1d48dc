"""The output of `heimdall watch` for events of a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heimdall_sdk.cli.progress import Progress
from heimdall_sdk.cli.watch import EpochLines

JOB: dict[str, Any] = {
    "id": "3f2a0000-0000-4000-8000-000000000000", "name": "First", "program": "p",
    "status": "running", "stop_requested": "", "total_epochs": 10,
    "objective": {"metric": "loss", "direction": "minimize"},
}  # fmt: skip
Capture = pytest.CaptureFixture[str]


def progress(epoch: int, *, best: bool = False, step: int | None = None, **metrics: Any) -> Any:
    data = {"epoch": epoch, "total_epochs": 10, "metrics": metrics, "is_best": best}
    if step is not None:
        data["step"] = step
    at = f"2026-01-01T00:00:{epoch:02d}.5Z"
    return {"event": "training:progress", "seq": epoch, "timestamp": at, "data": data}


def completed(**data: Any) -> Any:
    return {"event": "training:completed", "seq": 99, "timestamp": "", "data": data}


def test_epoch_prints_one_line_and_its_later_values_another(capsys: Capture) -> None:
    display = EpochLines(JOB)
    for event in (
        progress(1, loss=0.5), progress(1, best=True, loss=0.5), progress(2, train=1.0),
        progress(2, train=1.0, loss=0.75), progress(3, loss=None),
    ):  # fmt: skip
        display.show(event)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/10  loss 0.5  best", "epoch 2/10  train 1", "epoch 2/10  loss 0.75",
        "epoch 3/10  loss not finite",
    ]  # fmt: skip


def test_steps_of_a_run_without_epochs_are_shown(capsys: Capture) -> None:
    display = EpochLines({**JOB, "total_epochs": 0})
    display.show(progress(0, step=7, loss=0.5))
    assert capsys.readouterr().out == "step 7  loss 0.5\n"


def test_many_metrics_do_not_overflow_the_line(capsys: Capture) -> None:
    event = progress(1)
    event["data"]["metrics"] = {f"m{number}": 1.0 for number in range(11)}
    EpochLines(JOB).show(event)
    assert capsys.readouterr().out.endswith("m7 1  and 3 more\n")


@pytest.mark.parametrize(
    ("event", "line"),
    [(completed(status="failed", error_message="It broke."), "failed: It broke."),
     (completed(status="paused", checkpoint_path=None), "paused"),
     ({"event": "training:status", "data": {"status": "queued", "cause": "worker_lost",
       "actor": "w", "reason": "no heartbeat"}}, "worker lost (w): no heartbeat")],
)  # fmt: skip
def test_changes_of_the_status_are_sentences(capsys: Capture, event: Any, line: str) -> None:
    event["data"].setdefault("stop_requested", "")
    EpochLines(JOB).show(event)
    assert capsys.readouterr().out == f"{line}\n"


def test_time_left_follows_the_pace_of_the_epochs() -> None:
    found = Progress(JOB)
    for epoch in range(1, 5):
        found.add(progress(epoch, loss=1 / epoch))
    assert found.seconds_left == 6.0
    assert found.best_epoch == 4


def test_live_display_shows_position_objective_and_newest_epochs(capsys: Capture) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    from heimdall_sdk.cli.live import LiveDisplay

    display = LiveDisplay(JOB)
    for epoch in range(1, 5):
        display.show(progress(epoch, loss=1 / epoch))
    display.close()
    lines = capsys.readouterr().out.splitlines()
    assert any("First  running  epoch 4/10  6 s left" in line for line in lines)
    assert any(line.startswith("loss  █") for line in lines)
    assert any(line.split() == ["4", "0.25", "best"] for line in lines)


def test_sparkline_of_one_value_is_one_bar() -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    from heimdall_sdk.cli.live import sparkline

    assert sparkline([2.0], 10) == "▁"
    assert sparkline([1.0, 2.0, 3.0], 2) == "▁█"


def test_time_left_is_the_one_that_the_training_reports(capsys: Capture) -> None:
    end = (datetime.now(UTC) + timedelta(seconds=90)).isoformat()
    event = progress(0)
    event["data"].update(progress_percent=40.0, estimated_end_at=end)
    found = Progress({**JOB, "total_epochs": 0})
    found.add(event)
    assert found.percent == 40
    assert found.seconds_left is not None and 80 < found.seconds_left <= 90
    EpochLines({**JOB, "total_epochs": 0}).show(event)
    assert capsys.readouterr().out == "", "an event without values is a line"
