"""Reads an upload in a separate process: `python -m training.programs.import_process`.

The specification is a line of stdin, the result a line of stdout. When stdin closes, no client
waits for the result, and the process ends.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue

from training.programs.datasets import (
    DatasetImportError,
    ImportPreview,
    InvalidRowError,
    MappingRequiredError,
    Upload,
)
from training.programs.readings import ReadingOptions, ReadingTable

Task = Literal["import", "preview", "readings"]


class ImportSpec(BaseModel):
    """`output` is where an imported dataset's file is written; `workspace` an empty folder; `name`
    that of the file `upload` where it was sent from. `options` are those of the task."""

    task: Task
    upload: Path
    name: str
    workspace: Path
    output: Path | None
    max_bytes: int
    memory_bytes: int
    options: dict[str, JsonValue]


class ImportedDataset(BaseModel):
    """The dataset in the file that was written; see ReadDataset."""

    kind: str
    content_hash: str
    facts: dict[str, JsonValue]


class ImportProblem(BaseModel):
    """The error of an import: `file` and `line` of an invalid row, `errno` of a system error."""

    reason: str
    file: str = ""
    line: int = 0
    errno: int = 0
    out_of_memory: bool = False
    needs_mapping: bool = False


class ImportResult(BaseModel):
    dataset: ImportedDataset | None = None
    preview: ImportPreview | None = None
    readings: ReadingTable | None = None
    problem: ImportProblem | None = None


def run(spec: ImportSpec) -> ImportResult:
    from training.programs.registry import get_program

    datasets = get_program().dataset_format
    upload = Upload(spec.upload, spec.name)
    try:
        if spec.task == "readings":
            asked = ReadingOptions.model_validate(spec.options)
            readings = datasets.read_readings(upload, spec.workspace, spec.max_bytes, asked)
            return ImportResult(readings=readings)
        options = datasets.import_options.model_validate(spec.options)
        if spec.output is None:
            preview = datasets.preview(upload, spec.workspace, spec.max_bytes, options)
            return ImportResult(preview=preview)
        read = datasets.read_upload(upload, spec.workspace, spec.max_bytes, options)
        read.save(spec.output)
        facts = dict(read.facts)
        found = ImportedDataset(kind=read.kind, content_hash=read.content_hash, facts=facts)
        return ImportResult(dataset=found)
    except InvalidRowError as error:
        problem = ImportProblem(reason=error.reason, file=error.file, line=error.line)
    except MappingRequiredError as error:
        problem = ImportProblem(reason=str(error), file=error.file, needs_mapping=True)
    except DatasetImportError as error:
        problem = ImportProblem(reason=str(error))
    except MemoryError:
        problem = ImportProblem(reason="", out_of_memory=True)
    except OSError as error:
        problem = ImportProblem(reason=str(error.strerror), errno=error.errno or 0)
    return ImportResult(problem=problem)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def main() -> None:
    results = os.dup(1)
    os.dup2(2, 1)  # keeps what libraries print out of the result
    spec = ImportSpec.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (spec.memory_bytes, spec.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(results, "wb") as file:
        file.write(run(spec).model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
