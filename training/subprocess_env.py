"""The environment of processes that run trainings: without our secrets, which they never need."""

from __future__ import annotations

import os

SECRET_VARIABLES = (
    "RABBITMQ_URL",
    "DATABASE_URL",
    "DJANGO_SECRET_KEY",
    "EMAIL_URL",
    "HEIMDALL_OIDC_CLIENT_SECRET",
    "HEIMDALL_TOKEN",
    "HEIMDALL_URL",
)


def without_secrets(**more: str) -> dict[str, str]:
    """For `subprocess`; `more` is added."""
    return {
        name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES
    } | more
