"""Messages between a training and Heimdall. Standard library only; one JSON object a line.

A training that Heimdall starts writes messages to the file descriptor named by
`HEIMDALL_MESSAGES_FD`, finds its run spec in the file named by `HEIMDALL_SPEC`, and reads commands
from stdin. The server imports these classes from here, so both sides share one definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

FD_VARIABLE = "HEIMDALL_MESSAGES_FD"
SPEC_VARIABLE = "HEIMDALL_SPEC"
PAUSE = "pause"  # the only command

JsonObject = dict[str, Any]
# NaN and infinities are strings in JSON: "NaN", "Infinity", "-Infinity".
Value = float | Literal["NaN", "Infinity", "-Infinity"]


class Strict:
    """Undeclared fields are errors where pydantic validates a message."""

    __slots__ = ()
    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Strict):
    """The data is loaded and training begins. A training may not know the sizes."""

    type: Literal["started"] = "started"
    dataset_size: int | None = None
    train_samples: int | None = None
    val_samples: int | None = None
    total_epochs: int | None = None
    resumed_from_epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Strict):
    """A note for users; the training continues."""

    type: Literal["note"] = "note"
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress(Strict):
    type: Literal["batch"] = "batch"
    epoch: int
    batch: int
    total_batches: int
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded(Strict):
    """An epoch is complete, and its checkpoint is on disk if it has one.

    Short epochs share a checkpoint: then only the last of them has a path.
    """

    type: Literal["epoch"] = "epoch"
    epoch: int
    metrics: dict[str, float | None]
    seconds: float
    is_best: bool
    checkpoint_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point(Strict):
    """Values of one call of `run.log`. `time` is seconds since the epoch by the client's clock."""

    step: int
    time: float
    values: dict[str, Value]
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Points(Strict):
    """Points in the order in which they were logged.

    A point with an epoch belongs to that epoch's metrics; several points of one epoch are merged.
    """

    type: Literal["points"] = "points"
    points: list[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointed(Strict):
    """The checkpoint of an epoch is on disk; all points logged before it were sent before."""

    type: Literal["checkpointed"] = "checkpointed"
    epoch: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationProgress(Strict):
    type: Literal["generation"] = "generation"
    current: int
    total: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCompleted(Strict):
    type: Literal["training_completed"] = "training_completed"
    checkpoint_path: str
    evaluation: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCompleted(Strict):
    type: Literal["generation_completed"] = "generation_completed"
    path: str
    content_hash: str
    facts: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Strict):
    """The training stopped as requested, after its checkpoint."""

    type: Literal["paused"] = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Strict):
    """The training failed in a way that another attempt would repeat."""

    type: Literal["failed"] = "failed"
    error_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective(Strict):
    """The metric that decides which epoch and which trial is best."""

    metric: str
    direction: Literal["minimize", "maximize"] = "minimize"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec(Strict):
    """What to train. `parameters` belong to the program, `processes` and `needs` to the job.

    `resume_from` is the newest checkpoint that the job's row names: everything reported before it
    is stored. `init_from` is a checkpoint of another job, whose weights a new training starts from.
    """

    type: Literal["train"] = "train"
    program: str
    parameters: JsonObject
    run_dir: str
    dataset: str | None = None
    resume_from: str | None = None
    init_from: str | None = None
    earlier_runs: list[str] = field(default_factory=list)
    threads: int = 0  # 0: as many as the library chooses
    processes: int = 1
    needs: str = "auto"
    job_id: str = ""
    objective: Objective | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateSpec(Strict):
    """Which dataset to generate, and the file to write."""

    type: Literal["generate"] = "generate"
    program: str
    parameters: JsonObject
    output: str
