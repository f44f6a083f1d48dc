"""The environment in which MLflow inside a program logs into the program's own job."""

from __future__ import annotations

import os

from django.conf import settings
from django.db import DatabaseError

from training.accounts import tokens
from training.models import Job
from training.programs.registry import get_program

TRACKING_URI = "MLFLOW_TRACKING_URI"


def mlflow_variables(job: Job) -> dict[str, str]:
    """Empty for a built-in program, without an address of the web server, or if the operator has
    named another tracking server."""
    if not settings.WEB_URL or TRACKING_URI in os.environ or not get_program(job.program).folder:
        return {}
    try:
        token = tokens.create_job_token(job)
    except DatabaseError:  # a program without MLflow does not need it
        return {}
    return {
        TRACKING_URI: settings.WEB_URL,
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": job.pk.hex,
    }
