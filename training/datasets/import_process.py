"""Reads uploads in separate processes with limited memory, instead of the web process."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from django.conf import settings
from pydantic import BaseModel

from training.programs import messages
from training.programs.datasets import (
    DatasetImportError,
    ImportPreview,
    InvalidRowError,
    MappingRequiredError,
    ReadDataset,
    Upload,
)
from training.programs.durable_write import move_durably
from training.programs.import_process import ImportProblem, ImportResult, ImportSpec, Task
from training.programs.readings import ReadingOptions, ReadingTable
from training.request_thread import release_database
from training.subprocess_env import without_secrets

# Virtual memory; the largest dataset that the limits of an import allow needs about half of it.
MEMORY_BYTES = 3 * 1024**3
# Shorter than what an idempotency key waits for (`accounts.idempotency.IMPORT_ORPHANED_AFTER`).
MAX_SECONDS = 270.0


@contextmanager
def read_in_process(upload: Upload, options: BaseModel) -> Iterator[ReadDataset]:
    """The dataset, which can be saved until the context ends; raises DatasetImportError."""
    with _folder() as folder:
        output = folder / "dataset"
        result = _run(_spec("import", upload, options, folder, output))
        if result.dataset is None:
            raise _error(result.problem)
        found = result.dataset
        yield ReadDataset(found.kind, found.content_hash, found.facts, partial(_move, output))


def preview_in_process(upload: Upload, options: BaseModel) -> ImportPreview:
    with _folder() as folder:
        result = _run(_spec("preview", upload, options, folder))
    if result.preview is None:
        raise _error(result.problem)
    return result.preview


def read_readings_in_process(upload: Upload, options: ReadingOptions) -> ReadingTable:
    with _folder() as folder:
        result = _run(_spec("readings", upload, options, folder))
    if result.readings is None:
        raise _error(result.problem)
    return result.readings


@contextmanager
def _folder() -> Iterator[Path]:
    parent = Path(settings.DATA_DIR) / "datasets"
    parent.mkdir(parents=True, exist_ok=True)
    # In the folder of the datasets: the file is moved into place, and /tmp may be in memory.
    with tempfile.TemporaryDirectory(prefix="import-", dir=parent) as folder:
        yield Path(folder)


def _spec(
    task: Task, upload: Upload, options: BaseModel, folder: Path, output: Path | None = None
) -> ImportSpec:
    workspace = folder / "tables"
    workspace.mkdir()
    return ImportSpec(
        task=task,
        upload=upload.path,
        name=upload.name,
        workspace=workspace,
        output=output,
        max_bytes=settings.UPLOAD_MAX_BYTES,
        memory_bytes=MEMORY_BYTES,
        options=options.model_dump(mode="json"),
    )


def _move(output: Path, path: Path) -> None:
    move_durably(output, path)


def _run(spec: ImportSpec) -> ImportResult:
    release_database()
    with subprocess.Popen(
        [sys.executable, "-m", "training.programs.import_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=settings.BASE_DIR,
        start_new_session=True,
        # Threads of these libraries reserve much memory that they do not use.
        env=without_secrets(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MALLOC_ARENA_MAX="2"),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(spec.model_dump_json().encode() + b"\n")
            process.stdin.flush()
            for lines in messages.read_lines(process.stdout.fileno(), MAX_SECONDS):
                if not lines:
                    raise DatasetImportError(
                        f"The import took longer than {MAX_SECONDS:.0f} s; import fewer samples"
                    )
                return ImportResult.model_validate_json(lines[0])
        finally:
            process.kill()
    if process.returncode in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT):
        return ImportResult(problem=ImportProblem(reason="", out_of_memory=True))
    raise RuntimeError(f"The import process exited with status {process.returncode}. See its log.")


def _error(problem: ImportProblem | None) -> Exception:
    assert problem is not None
    if problem.out_of_memory:
        return DatasetImportError(
            f"The import needs more than {MEMORY_BYTES / 1024**3:.0f} GB of memory; import fewer "
            "samples or receivers"
        )
    if problem.needs_mapping:
        return MappingRequiredError(problem.file)
    if problem.errno:
        return OSError(problem.errno, problem.reason)
    if problem.file:
        return InvalidRowError(problem.file, problem.line, problem.reason)
    return DatasetImportError(problem.reason)
