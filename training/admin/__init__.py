"""The admin site: rows are read-only but for limits of users; actions go through `lifecycle`."""

from training.admin import jobs, limits, registry, sweeps, teams, users, webhooks

__all__ = ["jobs", "limits", "registry", "sweeps", "teams", "users", "webhooks"]
