"""The operators' desk: everything listed, nothing edited but through `lifecycle`."""

from training.admin import jobs, registry, sweeps, webhooks

__all__ = ["jobs", "registry", "sweeps", "webhooks"]
