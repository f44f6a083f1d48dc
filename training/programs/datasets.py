"""The interface of a program to stored datasets: import, generation, display."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

ImportOptions = TypeVar("ImportOptions", bound=BaseModel)
GenerationOptions = TypeVar("GenerationOptions", bound=BaseModel)


class DatasetImportError(ValueError):
    """The data cannot be imported; the message says what is wrong, where, and how to fix it."""


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
class DatasetFormat(Generic[ImportOptions, GenerationOptions]):
    """Import, generation and display of a program's datasets.

    `read_zip` takes the archive, an empty folder to unpack it in, the limit in bytes after
    decompression, and the options. Reading raises DatasetImportError.
    `project` maps latitudes and longitudes to metres east and north of an origin (lat, lon).
    """

    import_options: type[ImportOptions]
    generation_options: type[GenerationOptions]
    read_folder: Callable[[Path, ImportOptions], ReadDataset]
    read_zip: Callable[[Path, Path, int, ImportOptions], ReadDataset]
    generate: Callable[[GenerationOptions], ReadDataset]
    project: Callable[
        [tuple[float, float], Sequence[float], Sequence[float]], list[tuple[float, float]]
    ]
