"""Request bodies as blocks, without holding them in memory."""

from __future__ import annotations

from collections.abc import Iterator

from rest_framework.request import Request

from training.jobs import artifacts, disk_use
from training.jobs.artifacts import Artifact
from training.models import Job

BLOCK_SIZE = 1 << 18


def blocks(request: Request) -> Iterator[bytes]:
    """The raw body of a request whose `data` has not been read."""
    while block := request._request.read(BLOCK_SIZE):  # noqa: SLF001
        yield block


def size(request: Request) -> int:
    """The announced size of the body; 0 if it is sent in chunks."""
    text = request.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def store(request: Request, job: Job, name: str, max_bytes: int) -> Artifact:
    """Store the body as a file of the job, which counts toward its owner's limit.

    Raises ArtifactNameError or ArtifactQuotaError.
    """
    try:
        return artifacts.store_artifact(
            job, name, disk_use.counted(job, blocks(request), size(request)), max_bytes
        )
    finally:
        disk_use.record_job(job.pk)
