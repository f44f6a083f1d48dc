"""The environment in which the clients inside a program log into the program's own job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from django.conf import settings

from training.accounts import tokens
from training.models import Job
from training.programs.registry import get_program
from training.workers.database_retry import retry_while_unavailable

MLFLOW_URI = "MLFLOW_TRACKING_URI"
# Hugging Face's `Trainer` reports to this address (`training.jobs.trainer_status`).
KUBEFLOW_URL = "KUBEFLOW_TRAINER_SERVER_URL"
KUBEFLOW_FILE = "KUBEFLOW_TRAINER_SERVER_TOKEN"
FILE_NAME = "api-token"


@contextmanager
def client_variables(
    job: Job, folder: Path, give_up: Callable[[], bool]
) -> Iterator[Mapping[str, str]]:
    """Variables for MLflow and for Hugging Face's `Trainer`, valid until the end of the attempt.

    Empty for a built-in program and without an address of the web server. A server that the
    operator has named for a client is kept. Waits for an unavailable database until `give_up`.
    """
    if not settings.WEB_URL or not get_program(job.program).folder:
        yield {}
        return
    wanted = {MLFLOW_URI, KUBEFLOW_URL} - os.environ.keys()
    if not wanted:
        yield {}
        return
    token = retry_while_unavailable(partial(tokens.create_job_token, job), give_up)
    token_file = folder / FILE_NAME
    try:
        yield {
            **(_mlflow(job, token) if MLFLOW_URI in wanted else {}),
            **(_kubeflow(job, token, token_file) if KUBEFLOW_URL in wanted else {}),
        }
    finally:
        token_file.unlink(missing_ok=True)


def _mlflow(job: Job, token: str) -> Mapping[str, str]:
    return {
        MLFLOW_URI: settings.WEB_URL,
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": job.pk.hex,
    }


def _kubeflow(job: Job, token: str, token_file: Path) -> Mapping[str, str]:
    token_file.parent.mkdir(parents=True, exist_ok=True)
    token_file.unlink(missing_ok=True)
    token_file.touch(0o600)
    token_file.write_text(token)
    server = str(settings.WEB_URL).rstrip("/")
    path = f"/api/v1/training/jobs/{job.pk}/attempts/{job.attempt}/status"
    return {KUBEFLOW_URL: server + path, KUBEFLOW_FILE: str(token_file)}
