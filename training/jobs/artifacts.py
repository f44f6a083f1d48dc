"""The files of a job: checkpoints, the model, its card, exports, and files of its run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from heimdall_sdk.checkpoint_names import BESTS, SUFFIX, newest_first
from training.inference.client import EXPORT_SECONDS, inference_client
from training.jobs import disk_use
from training.jobs.directories import attempt_directory, attempt_number, job_directory
from training.models import Job
from training.programs.checkpoint_files import MODEL
from training.programs.durable_write import move_durably, temporary_path
from training.programs.messages import ExportRequest

BEST = f"best{SUFFIX}"
SAVED = "artifacts"  # the folder of a run's own files, as in the SDK
MAX_NAME, MAX_DEPTH, MAX_FILES = 400, 20, 10_000
MAX_PART_BYTES = 240  # of the 255 of a file system
INCOMPLETE = ".part"
_KNOWN = {
    MODEL: ("model", "Calibrated model for inference"),
    "card.json": ("card", "Model card: data, settings, seed, versions, metrics"),
}
_EXPORTS = {
    "model.pt2": ("export", "torch.export (generated on first download)"),
    "model.onnx": ("export", "ONNX (generated on first download)"),
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file to download. `bytes` is None until an export is first requested."""

    job_id: UUID
    name: str
    kind: str
    description: str
    path: Path

    @property
    def bytes(self) -> int | None:
        return self.path.stat().st_size if self.path.exists() else None

    @property
    def needs_export(self) -> bool:
        return self.kind == "export" and not self.path.exists()


class ArtifactNameError(ValueError):
    """The name cannot be the path of a file below the job's folder."""


class ArtifactQuotaError(ValueError):
    """The job's files would exceed the limit."""


class TooManyArtifactsError(ArtifactNameError):
    """The job has as many files as it may have."""


def list_artifacts(job: Job) -> list[Artifact]:
    """At most MAX_FILES files of the run in each attempt; `find_artifact` finds any."""
    return [*_of_program(job), *_saved(job)]


def find_artifact(job: Job, name: str) -> Artifact | None:
    """The artifact of this name, without reading the folders of the run's files."""
    with suppress(ArtifactNameError):
        check_name(name)
        for folder in _saved_folders(job, newest_first=True):
            path = folder / name
            if path.resolve() == folder.resolve() / name and path.is_file():
                return Artifact(job.pk, name, "file", "", path)
    return next((artifact for artifact in _of_program(job) if artifact.name == name), None)


def check_name(name: str) -> None:
    """A path with folders, separated by slashes. Raises ArtifactNameError with the reason."""
    parts = name.split("/")
    if len(name) > MAX_NAME or len(parts) > MAX_DEPTH:
        raise ArtifactNameError(
            f"The name is too long; at most {MAX_NAME} characters and {MAX_DEPTH} folders allowed."
        )
    if any(len(part.encode(errors="replace")) > MAX_PART_BYTES for part in parts):
        raise ArtifactNameError(
            f"A part of the name is too long; each may have {MAX_PART_BYTES} bytes in UTF-8."
        )
    if any(part in ("", ".", "..") for part in parts):
        raise ArtifactNameError(f"{name!r} has an empty part, '.' or '..'.")
    if "\\" in name or not name.isprintable():
        raise ArtifactNameError(f"{name!r} has a backslash or a character that is not printable.")
    if name.endswith(INCOMPLETE):
        raise ArtifactNameError(
            f"{name!r} ends in {INCOMPLETE}, as the names of incomplete files do; choose another "
            "name."
        )


def store_artifact(job: Job, name: str, blocks: Iterable[bytes], max_bytes: int) -> Artifact:
    """Write a file of a reported job; an existing one of this name is replaced.

    Raises ArtifactNameError, or ArtifactQuotaError if the job's files exceed `max_bytes`.
    """
    check_name(name)
    root = attempt_directory(job.pk, max(job.attempt, 1)) / SAVED
    path = root / name
    sizes = dict(_file_sizes(job))
    if len(sizes) >= MAX_FILES and str(path) not in sizes:
        raise TooManyArtifactsError(
            f"This job has {len(sizes):,} files, and the limit is {MAX_FILES:,}; put several into "
            "an archive, such as a zip."
        )
    others = sum(sizes.values()) - sizes.get(str(path), 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArtifactNameError(f"{name!r} conflicts with an existing file or folder.") from error
    temporary = temporary_path(path)
    try:
        with temporary.open("wb") as file:
            for block in blocks:
                file.write(block)
                if others + file.tell() > max_bytes:
                    raise ArtifactQuotaError(
                        f"The files of this job would exceed {max_bytes:,} bytes."
                    )
        move_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return Artifact(job.pk, name, "file", "", path)


def _file_sizes(job: Job) -> Iterator[tuple[str, int]]:
    """The paths of all files that the run saved in any attempt, and their sizes."""
    for folder in _saved_folders(job):
        for parent, _, names in os.walk(folder):
            for name in names:
                if not name.endswith(INCOMPLETE):
                    path = f"{parent}/{name}"
                    with suppress(FileNotFoundError):
                        status = os.lstat(path)
                        if stat.S_ISREG(status.st_mode):
                            yield path, status.st_size


def _saved_folders(job: Job, *, newest_first: bool = False) -> list[Path]:
    return sorted(
        job_directory(job.pk).glob(f"attempt-*/{SAVED}"),
        key=lambda path: attempt_number(path.parent),
        reverse=newest_first,
    )


def _saved(job: Job) -> list[Artifact]:
    """Files that the run saved in any attempt; the newest attempt takes precedence."""
    found: dict[str, Artifact] = {}
    for folder in _saved_folders(job):
        for path in sorted(folder.rglob("*"))[:MAX_FILES]:
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(folder).as_posix()
                with suppress(ArtifactNameError):  # of a script that wrote it here itself
                    check_name(name)
                    found[name] = Artifact(job.pk, name, "file", "", path)
    return list(found.values())


def _of_program(job: Job) -> list[Artifact]:
    if not job.checkpoint_path:
        return []
    newest = Path(job.checkpoint_path)
    folder = newest.parent
    found = [Artifact(job.pk, name, *what, folder / name) for name, what in _KNOWN.items()]
    # The file is named after its epoch; the download has a fixed name.
    for best in newest_first([folder], BESTS)[:1]:
        found.append(Artifact(job.pk, BEST, "checkpoint", "Best checkpoint (resumable)", best))
        if newest.name != best.name:
            what = "checkpoint", "Latest checkpoint (resumable)"
            found.append(Artifact(job.pk, newest.name, *what, newest))
    there = [artifact for artifact in found if artifact.path.exists()]
    if (folder / MODEL) in {artifact.path for artifact in there}:
        there += [Artifact(job.pk, name, *what, folder / name) for name, what in _EXPORTS.items()]
    return there


def ensure_exported(artifact: Artifact) -> Path:
    """The path of the file, exported first if needed.

    Raises InferenceError or InferenceUnavailableError if the export fails.
    """
    if artifact.needs_export:
        request = ExportRequest(
            model=str(artifact.path.with_name(MODEL)), output=str(artifact.path)
        )
        inference_client().request(request, EXPORT_SECONDS)
        disk_use.record_job(artifact.job_id)
    return artifact.path
