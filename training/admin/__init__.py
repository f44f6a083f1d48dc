"""The operators' desk: everything listed, nothing edited but through `lifecycle`."""

from training.admin import jobs, rest, sweeps, webhooks

__all__ = ["jobs", "rest", "sweeps", "webhooks"]
