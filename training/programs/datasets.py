"""The interface of a program to stored datasets: import, generation, display."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, JsonValue

if TYPE_CHECKING:
    from training.programs.readings import ReadingOptions, ReadingTable

ImportOptions = TypeVar("ImportOptions", bound=BaseModel)
GenerationOptions = TypeVar("GenerationOptions", bound=BaseModel)


class DatasetImportError(ValueError):
    """The data cannot be imported; the message says what is wrong, where, and how to fix it."""


class MappingRequiredError(DatasetImportError):
    """The upload is a single table, and the meaning of its columns was not given."""

    def __init__(self, file: str) -> None:
        super().__init__(
            f"{file} is a single table; describe its columns in `mapping`. A check of the import "
            "(`dry_run=1`) suggests one"
        )
        self.file = file


class InvalidRowError(DatasetImportError):
    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file} line {line}: {reason}")
        self.file, self.line, self.reason = file, line, reason


@dataclass(frozen=True, slots=True)
class ReadDataset:
    """A dataset that was read or generated and is not stored yet. `facts` are shown on pages."""

    kind: str
    content_hash: str
    facts: Mapping[str, Any]
    save: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a user sent, and its name there."""

    path: Path
    name: str


class PreviewError(BaseModel):
    """A reason why the import would be rejected; `file` and `line` of an invalid row."""

    reason: str
    file: str = ""
    line: int = 0


class PreviewColumn(BaseModel):
    """`meaning` is what the column is read as; empty: it is not read."""

    table: str
    name: str
    meaning: str = ""
    examples: list[str] = []


class ImportPreview(BaseModel):
    """The result that an import would have. `dataset` has the facts if there are no errors.

    `all_errors`: whether `errors` is all of them. `mapping` is a guess for a single table, to be
    sent with the import.
    """

    dataset: dict[str, JsonValue] | None = None
    errors: list[PreviewError] = []
    all_errors: bool = True
    columns: list[PreviewColumn] = []
    mapping: dict[str, JsonValue] | None = None
    notes: list[str] = []


@dataclass(frozen=True, slots=True)
class DatasetFormat(Generic[ImportOptions, GenerationOptions]):
    """Import, generation and display of a program's datasets.

    `read_upload` takes the upload, an empty folder to unpack it in, the limit in bytes after
    decompression, and the options; it raises DatasetImportError. `preview` takes the same, and
    `read_readings`, which reads what was heard at unknown positions.
    `project` maps latitudes and longitudes to meters east and north of an origin (lat, lon).
    """

    import_options: type[ImportOptions]
    generation_options: type[GenerationOptions]
    read_folder: Callable[[Path, ImportOptions], ReadDataset]
    read_upload: Callable[[Upload, Path, int, ImportOptions], ReadDataset]
    preview: Callable[[Upload, Path, int, ImportOptions], ImportPreview]
    read_readings: Callable[[Upload, Path, int, ReadingOptions], ReadingTable]
    generate: Callable[[GenerationOptions], ReadDataset]
    project: Callable[
        [tuple[float, float], Sequence[float], Sequence[float]], list[tuple[float, float]]
    ]
