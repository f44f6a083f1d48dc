"""The admin site: rows are read-only, and every action goes through `lifecycle`."""

from training.admin import jobs, registry, sweeps, webhooks

__all__ = ["jobs", "registry", "sweeps", "webhooks"]
