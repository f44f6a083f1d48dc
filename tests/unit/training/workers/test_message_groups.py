"""Which messages are stored in one transaction."""

from __future__ import annotations

from training.programs.messages import (
    BatchProgress,
    Checkpointed,
    EpochEnded,
    Message,
    Note,
    Paused,
    Point,
    Points,
)
from training.workers.message_groups import group_messages


def epoch(number: int) -> EpochEnded:
    return EpochEnded(epoch=number, metrics={}, seconds=0.1, is_best=False)


def points(step: int) -> Points:
    return Points(points=[Point(step=step, time=1.0, values={"loss": 0.5})])


def checkpointed(number: int) -> Checkpointed:
    return Checkpointed(epoch=number, path=f"{number}.safetensors")


def test_consecutive_epochs_are_stored_together() -> None:
    received: list[Message] = [
        Note(message="a"),
        epoch(1),
        epoch(2),
        Note(message="b"),
        Note(message="c"),
        epoch(3),
        Paused(),
    ]
    assert list(group_messages(received)) == [
        [Note(message="a")],
        [epoch(1), epoch(2)],
        [Note(message="b")],
        [Note(message="c")],
        [epoch(3)],
        [Paused()],
    ]


def test_points_are_stored_together_and_before_the_checkpoints_between_them() -> None:
    received: list[Message] = [points(1), checkpointed(1), points(2), points(3), checkpointed(3)]
    assert list(group_messages(received)) == [
        [points(1), points(2), points(3)],
        [checkpointed(1), checkpointed(3)],
    ]


def test_batch_progress_between_epochs_does_not_split_their_group() -> None:
    progress = BatchProgress(epoch=2, batch=1, total_batches=9, loss=0.5)
    assert list(group_messages([epoch(1), progress, epoch(2)])) == [
        [progress],
        [epoch(1), epoch(2)],
    ]


def test_messages_are_not_grouped_across_a_final_message() -> None:
    received: list[Message] = [points(1), Paused(), points(2)]
    assert list(group_messages(received)) == [[points(1)], [Paused()], [points(2)]]
