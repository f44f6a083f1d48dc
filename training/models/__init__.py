"""Database models."""

from training.models.accounts import Allowance, ApiToken, AuditEntry, IdempotencyKey
from training.models.jobs import Dataset, Epoch, Job, JobEvent, Sweep, TrainedModel
from training.models.webhooks import Delivery, Webhook
from training.models.workers import Worker

__all__ = [
    "Allowance",
    "ApiToken",
    "AuditEntry",
    "Dataset",
    "Delivery",
    "Epoch",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "Sweep",
    "TrainedModel",
    "Webhook",
    "Worker",
]
