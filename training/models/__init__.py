"""Database models."""

from training.models.accounts import (
    Allowance,
    ApiToken,
    AuditEntry,
    IdempotencyKey,
    ImportInProgress,
    LimitOverride,
    SignInAttempts,
    UserSession,
)
from training.models.jobs import (
    Dataset,
    Epoch,
    Job,
    JobEvent,
    Project,
    QueueTurn,
    Sweep,
    SystemBlock,
    TrainedModel,
)
from training.models.mlflow import (
    LoggedModel,
    MlflowExperiment,
    MlflowRun,
    ModelVersion,
    RegisteredModel,
)
from training.models.points import PointBatch, PointBlock, PointIndex, ReportedBatches
from training.models.retention import EventBlock, FileRemoval, RetentionState
from training.models.trackio import TrackioEntry, TrackioRun
from training.models.trainer_position import TrainerPosition
from training.models.webhooks import Delivery, Webhook
from training.models.workers import Claim, Worker

__all__ = [
    "Allowance",
    "ApiToken",
    "AuditEntry",
    "Claim",
    "Dataset",
    "Delivery",
    "Epoch",
    "EventBlock",
    "FileRemoval",
    "IdempotencyKey",
    "ImportInProgress",
    "Job",
    "JobEvent",
    "LimitOverride",
    "LoggedModel",
    "MlflowExperiment",
    "MlflowRun",
    "ModelVersion",
    "PointBatch",
    "PointBlock",
    "PointIndex",
    "Project",
    "QueueTurn",
    "RegisteredModel",
    "ReportedBatches",
    "RetentionState",
    "SignInAttempts",
    "Sweep",
    "SystemBlock",
    "TrackioEntry",
    "TrackioRun",
    "TrainedModel",
    "TrainerPosition",
    "UserSession",
    "Webhook",
    "Worker",
]
