"""The content of a checkpoint file. Loads no torch, for the process that writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NotRequired, TypedDict, TypeVar

from training.localization.checkpoints import safetensors_file

if TYPE_CHECKING:
    from pydantic import JsonValue

    from training.localization.localizer.normalizer import StoredNormalizer

FORMAT, VECTOR = 5, "numbers"
READABLE_FORMATS = (4, FORMAT)  # 4: version 0.2 and older, without `architecture`

Message = TypeVar("Message")


class StoredRun(TypedDict):
    """Metadata that is the same in all checkpoints of a run."""

    config: dict[str, JsonValue]
    normaliser: StoredNormalizer
    receivers: Sequence[str]
    dataset_hash: str
    architecture: NotRequired[int]  # absent in format 4: 1


class StoredState(StoredRun):
    """A `TrainState` without its tensors; `kinds` names the optimizer's tensors per weight."""

    kinds: list[str]
    epoch: int
    best_epoch: int | None
    best_val_loss: float | None
    threads: int


class SharedCheckpoint(TypedDict):
    """A state whose vector is in the shared memory: `size` bytes at `offset`."""

    metadata: StoredState
    size: int
    offset: int


class WriteOrder(TypedDict, Generic[Message]):
    """A line to the writer process: checkpoints by their kind, and the messages to send then."""

    folder: str
    checkpoints: list[tuple[str, SharedCheckpoint]]
    messages: list[Message]


def pack(metadata: StoredState, vector: bytes) -> bytes:
    return safetensors_file.pack_vector(VECTOR, vector, {"format": FORMAT, **metadata})
