"""The response to the download of an artifact, shared by pages and API."""

from __future__ import annotations

from pathlib import Path

from django.contrib.auth.models import User
from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.request import Request

from training.accounts import audit
from training.api import downloads
from training.api.held_places import count_download
from training.jobs.artifacts import Artifact
from training.models import Job

_SENT = frozenset({status.HTTP_200_OK, status.HTTP_206_PARTIAL_CONTENT})


def artifact_response(
    request: Request, user: User, job: Job, artifact: Artifact, path: Path
) -> HttpResponseBase:
    """Send the file at `path`; it counts as a download of the user and is audited."""
    response = count_download(user, downloads.download(request, path, artifact.name))
    # Files of runs are left out: a job's page shows its images.
    if artifact.kind != "file" and response.status_code in _SENT:
        audit.record("download", job, artifact=artifact.name)
    return response
