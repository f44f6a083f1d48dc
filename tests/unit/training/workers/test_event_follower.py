"""Following event files that are being written: each value once, as soon as possible."""

from __future__ import annotations

import json
import math
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.summary import hparams

from heimdall_sdk.messages import Point
from tests.unit.sdk.recordings import record, scalar_record
from training.workers import event_follower, event_records
from training.workers.event_follower import EventFollower, tensorboard_variables

PID = os.getpid()
FILE = f"events.out.tfevents.5.{socket.gethostname()}.{PID}.0"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return folder(tmp_path / "attempt-001")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return folder(tmp_path / "program")


@pytest.fixture
def follower(own: Path, shared: Path) -> EventFollower:
    return EventFollower(own, shared)


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def append(path: Path, *records: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(records))
    return path


def summary_record(*values: Any, step: int = 0) -> bytes:
    return record(
        Event(wall_time=1e9, step=step, summary=Summary(value=values)).SerializeToString()
    )


def poll(follower: EventFollower) -> list[tuple[int, dict[str, Any]]]:
    """Step and values of each new point."""
    return [(point.step, dict(point.values)) for point in follower.poll(PID, final=True)]


def test_each_value_is_read_once(own: Path, follower: EventFollower) -> None:
    path = append(own / FILE, scalar_record("loss", 0.5, 1), scalar_record("lr", 0.25, 1))
    append(path, scalar_record("loss", 0.25, 2))
    assert follower.poll(PID) == [
        Point(step=1, time=1e9 + 1, values={"loss": 0.5, "lr": 0.25}),
        Point(step=2, time=1e9 + 2, values={"loss": 0.25}),
    ]
    assert poll(follower) == []
    append(path, scalar_record("loss", 0.125, 3))
    assert poll(follower) == [(3, {"loss": 0.125})]


def test_incomplete_record_is_read_once_it_is_complete(own: Path, follower: EventFollower) -> None:
    whole = scalar_record("loss", 0.5, 1)
    for cut in (1, 8, 12, 13, len(whole) - 1):
        path = append(own / f"{FILE}{cut}", whole[:cut])
        assert poll(follower) == []
        assert poll(follower) == []
        append(path, whole[cut:])
        assert poll(follower) == [(1, {"loss": 0.5})]
    assert follower.take_notes() == []


def test_damaged_file_is_read_up_to_the_damage_with_one_note(
    own: Path, follower: EventFollower
) -> None:
    good = scalar_record("loss", 0.5, 1)
    path = append(own / FILE, good, b"\xff" * len(good), scalar_record("loss", 0.5, 2))
    other = append(own / f"{FILE}b", good)
    assert poll(follower) == [(1, {"loss": 0.5})] * 2
    append(path, scalar_record("loss", 0.5, 3))
    append(other, scalar_record("loss", 0.5, 4))
    assert poll(follower) == [(4, {"loss": 0.5})]
    (note,) = follower.take_notes()
    assert note == (
        f"TensorBoard: {FILE} is damaged at byte {len(good)} (the length of a record is wrong). "
        "The rest of the file is not read."
    )


def test_values_keep_slashes_nan_and_infinities(own: Path, follower: EventFollower) -> None:
    values = {"train/loss": math.nan, "a/b/c d": math.inf, "\u00e9": -math.inf}
    append(own / FILE, *(scalar_record(tag, value, 7) for tag, value in values.items()))
    assert str(poll(follower)) == str([(7, values)])


def test_tags_that_are_invalid_series_names_are_changed(own: Path, follower: EventFollower) -> None:
    append(own / FILE, *(scalar_record(tag, 1.0, 0) for tag in ("", " a\tb ", "\0", "x" * 300)))
    ((_, values),) = poll(follower)
    assert list(values) == ["unnamed", "a b", "\N{REPLACEMENT CHARACTER}", "x" * 250]


def test_several_values_of_a_tag_at_one_step_keep_their_order(
    own: Path, follower: EventFollower
) -> None:
    append(own / FILE, *(scalar_record("loss", value, 0) for value in (1.0, 2.0, 3.0)))
    assert poll(follower) == [(0, {"loss": 1.0}), (0, {"loss": 2.0}), (0, {"loss": 3.0})]


def test_negative_steps_are_skipped_with_one_note(own: Path, follower: EventFollower) -> None:
    append(own / FILE, *(scalar_record("loss", 1.0, step) for step in (-2, -1, 0)))
    assert poll(follower) == [(0, {"loss": 1.0})]
    assert follower.take_notes() == ["Values of TensorBoard with negative steps are not stored."]
    append(own / FILE, scalar_record("loss", 1.0, -3))
    assert poll(follower) == []
    assert follower.take_notes() == []


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["logs/1/train", "logs/1/validation"], ["loss", "validation/loss"]),
        (["runs/x", "runs/x/loss_a", "runs/x/loss_b"], ["loss", "loss_a/loss", "loss_b/loss"]),
        (["runs/x", "runs/x/1764227272.5"], ["loss", "loss"]),
        (["lightning_logs/version_3", "lightning_logs/version_4"], ["loss", "version_4/loss"]),
        (["a/b", "."], ["loss", "own/loss"]),
    ],
)
def test_series_of_further_folders_have_their_path(
    own: Path, follower: EventFollower, folders: list[str], names: list[str]
) -> None:
    found = []
    for number, name in enumerate(folders):
        append(own / name / FILE, scalar_record("loss", 1.0, number))
        found += [series for _, values in poll(follower) for series in values]
    assert found == names


def test_folders_of_attempt_and_program_do_not_mix(
    own: Path, shared: Path, follower: EventFollower
) -> None:
    append(shared / "runs" / "x" / FILE, scalar_record("loss", 1.0, 1))
    assert poll(follower) == [(1, {"loss": 1.0})]
    append(own / "tensorboard" / FILE, scalar_record("loss", 2.0, 1))
    assert poll(follower) == [(1, {"tensorboard/loss": 2.0})]


def test_series_that_the_program_reports_with_the_sdk_are_skipped(
    own: Path, follower: EventFollower
) -> None:
    append(own / FILE, scalar_record("loss", 1.0, 1), scalar_record("lr", 2.0, 1),
           scalar_record("loss", 1.0, 2))  # fmt: skip
    follower.exclude({"loss"})
    assert poll(follower) == [(1, {"lr": 2.0})]


def test_next_attempt_reads_only_records_that_were_not_stored(
    own: Path, shared: Path, follower: EventFollower, tmp_path: Path
) -> None:
    path = append(shared / "runs" / "x" / FILE, scalar_record("loss", 1.0, 1))
    append(shared / "runs" / "y" / FILE, scalar_record("loss", 1.0, 1))
    assert len(poll(follower)) == 2
    follower.save()
    append(path, scalar_record("loss", 2.0, 2))
    assert poll(follower) == [(2, {"loss": 2.0})]  # and the worker ends before it saves
    following = EventFollower(folder(tmp_path / "attempt-002"), shared, [own])
    assert poll(following) == [(2, {"loss": 2.0})]
    assert poll(following) == []
    append(path, scalar_record("loss", 3.0, 3))
    assert poll(following) == [], "the file of an ended attempt grows"
    # A folder that is known keeps its name; the first that is new continues the first.
    append(shared / "runs" / "y" / f"{FILE}2", scalar_record("loss", 4.0, 4))
    append(shared / "runs" / "z" / FILE, scalar_record("loss", 5.0, 5))
    assert poll(following) == [(4, {"y/loss": 4.0}), (5, {"loss": 5.0})]


def test_damaged_state_of_an_earlier_attempt_is_ignored(
    own: Path, shared: Path, tmp_path: Path
) -> None:
    for content in ("", "[]", '{"files": 1, "prefixes": {}}', '{"files": [[1, 2]], "prefixes": 1}'):
        (own / event_follower.STATE).write_text(content)
        assert poll(EventFollower(tmp_path / "attempt-002", shared, [own])) == []


def test_unchanged_offsets_are_not_written_again(own: Path, follower: EventFollower) -> None:
    append(own / FILE, scalar_record("loss", 1.0, 1))
    poll(follower)
    follower.save()
    state = own / event_follower.STATE
    assert json.loads(state.read_text())["files"] == [
        [str(own / FILE), "own", (own / FILE).stat().st_size]
    ]
    before = state.stat().st_ino
    follower.save()
    assert state.stat().st_ino == before


def test_large_amount_of_events_is_read_in_several_polls(
    own: Path, follower: EventFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_follower, "READ_BYTES", 500)
    for name in ("a", "b"):
        append(own / name / FILE, *(scalar_record("loss", 1.0, step) for step in range(40)))
    found: list[tuple[int, dict[str, Any]]] = []
    polls = 0
    while not polls or follower.has_more:
        found += poll(follower)
        polls += 1
    assert polls > 5
    assert [step for step, values in found if "loss" in values] == list(range(40))
    assert [step for step, values in found if "b/loss" in values] == list(range(40))


def test_points_belong_to_the_epoch_that_the_script_writes_else_to_their_step(
    own: Path, shared: Path
) -> None:
    follower = EventFollower(own, shared, steps_are_epochs=True)
    for step, epoch in ((7, 0.0), (15, 1.0), (23, 1.5), (24, math.nan)):
        append(own / FILE, scalar_record("loss", 1.0, step), scalar_record("epoch", epoch, step))
    append(own / FILE, scalar_record("loss", 1.0, 25))
    found = [(point.step, point.epoch) for point in follower.poll(PID)]
    assert found == [(7, 0), (15, 1), (23, 23), (24, 24), (25, 25)]


def test_file_that_was_replaced_is_read_from_its_beginning(
    own: Path, follower: EventFollower
) -> None:
    path = append(own / FILE, *(scalar_record("loss", 1.0, step) for step in range(9)))
    assert len(poll(follower)) == 9
    path.unlink()
    append(own / "new", scalar_record("loss", 2.0, 1)).rename(path)
    assert poll(follower) == [(1, {"loss": 2.0})]
    path.unlink()
    assert poll(follower) == []
    assert not follower.has_files


def test_histograms_are_percentiles(own: Path, follower: EventFollower) -> None:
    histogram = HistogramProto(min=0, max=4, num=4, bucket_limit=[2, 4], bucket=[2, 2])
    append(own / FILE, summary_record(Summary.Value(tag="w", histo=histogram), step=3))
    assert poll(follower) == [
        (3, {"w/p05": 0.2, "w/p25": 1.0, "w/p50": 2.0, "w/p75": 3.0, "w/p95": 3.8})
    ]


def files_of(own: Path) -> dict[str, bytes]:
    root = own / "artifacts" / "tensorboard"
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*") if path.is_file()}  # fmt: skip


def test_images_texts_and_hyperparameters_are_files_of_the_job(
    own: Path, follower: EventFollower
) -> None:
    image = Summary.Image(encoded_image_string=b"\x89PNG...")
    text = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    note = TensorProto(dtype=7, string_val=["caf\u00e9\0".encode()])
    images = [Summary.Value(tag="digits/x", image=image)] * 2
    append(
        own / FILE,
        summary_record(*images, step=12),
        summary_record(Summary.Value(tag="n/text_summary", metadata=text, tensor=note), step=3),
        summary_record(Summary.Value(tag="../../x", image=image)),
        *(record(Event(summary=one).SerializeToString()) for one in hparams({"lr": 0.5}, {})),
    )
    assert poll(follower) == []
    assert files_of(own) == {
        "digits/x/00000012.png": b"\x89PNG...",
        "digits/x/00000012-1.png": b"\x89PNG...",
        "n/00000003.txt": "caf\u00e9\N{REPLACEMENT CHARACTER}".encode(),
        "hyperparameters.json": b'{\n  "lr": 0.5\n}',
    }
    assert follower.take_notes() == []


def test_files_beyond_the_limit_are_ignored_with_one_note(
    own: Path, follower: EventFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_records, "MAX_FILES", 2)
    value = Summary.Value(tag="x", image=Summary.Image(encoded_image_string=b"GIF89a"))
    append(own / FILE, *(summary_record(value, step=step) for step in range(5)))
    poll(follower)
    assert sorted(files_of(own)) == ["x/00000000.gif", "x/00000001.gif"]
    (note,) = follower.take_notes()
    assert note.startswith("Images and texts of TensorBoard: the first")


def test_file_possibly_of_another_job_is_noted_if_the_job_has_no_other(
    own: Path, shared: Path
) -> None:
    follower = EventFollower(own, shared)
    append(shared / "runs" / "events.out.tfevents.5.host", scalar_record("loss", 1.0, 1))
    assert poll(follower) == []
    (note,) = follower.take_notes()
    assert "the file events.out.tfevents.5.host may belong to another job" in note
    append(own / FILE, scalar_record("loss", 1.0, 1))
    append(shared / "events.out.tfevents.6.host")
    assert poll(follower) == [(1, {"loss": 1.0})]
    assert follower.take_notes() == []


def test_variables_set_by_the_operator_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGDIR", "/logs")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    assert tensorboard_variables(tmp_path) == {
        "TENSORBOARD_LOGGING_DIR": str(tmp_path / "tensorboard")
    }
