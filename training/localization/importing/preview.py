"""Preview of an import: every error, the columns and, for one table, a guessed mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from training.localization.config import ImportConfig
from training.localization.data.dataset import Dataset
from training.localization.importing.importer import FolderSource, Source, read_source
from training.localization.importing.mapped_table import MappedTable, is_empty
from training.localization.importing.mapping_guess import guess_mapping
from training.localization.importing.row_errors import RowErrors, TooManyErrorsError
from training.localization.importing.single_table import Table
from training.localization.importing.upload import open_single_table
from training.localization.importing.zip_archive import TABLES, extract_tables
from training.localization.table_mapping import ReadingMapping, TableMapping
from training.programs.datasets import (
    DatasetImportError,
    ImportPreview,
    InvalidRowError,
    PreviewColumn,
    PreviewError,
    Upload,
)

# The facts of a dataset that pages show.
Summarize = Callable[[Dataset], Mapping[str, Any]]
Read = Callable[[Source, ImportPreview], ImportPreview]
MAX_ERRORS = 100
_EXAMPLES, _ROWS_FOR_EXAMPLES = 3, 200


def preview_import(
    upload: Upload,
    workspace: Path,
    max_bytes: int,
    config: ImportConfig,
    summarize: Summarize,
) -> ImportPreview:
    read = partial(_read, config=config, summarize=summarize)
    try:
        sheet = config.mapping.sheet if config.mapping else ""
        table = open_single_table(upload, workspace, max_bytes, sheet)
        if table is None:
            source = FolderSource(extract_tables(upload.path, workspace, max_bytes), max_bytes)
            return _preview_folder(source, read)
        return _preview_table(table, config.mapping, read)
    except DatasetImportError as error:
        return ImportPreview(errors=[_describe(error)])


def _preview_folder(source: FolderSource, read: Read) -> ImportPreview:
    columns: list[PreviewColumn] = []
    errors: list[PreviewError] = []
    for name in TABLES:
        try:
            columns += [
                PreviewColumn(table=name, name=column, meaning=column)
                for column in source.read_header(name)
            ]
        except DatasetImportError as error:
            errors.append(_describe(error))
    if errors:
        return ImportPreview(errors=errors, columns=columns)
    return read(source, ImportPreview(columns=columns))


def _preview_table(table: Table, mapping: TableMapping | None, read: Read) -> ImportPreview:
    notes = list(table.notes)
    if mapping is None:
        guess = guess_mapping(table)
        mapping, notes = guess.mapping, list(guess.notes)
        if mapping is None:
            return ImportPreview(
                errors=[PreviewError(file=table.file, reason=guess.problem)],
                columns=describe_columns(table, None),
                notes=notes,
            )
    preview = ImportPreview(
        columns=describe_columns(table, mapping),
        notes=notes,
        mapping=mapping.model_dump(mode="json", exclude_defaults=True),
    )
    try:
        return read(MappedTable(table, mapping), preview)
    except DatasetImportError as error:
        return preview.model_copy(update={"errors": [_describe(error)]})


def _read(
    source: Source, preview: ImportPreview, *, config: ImportConfig, summarize: Summarize
) -> ImportPreview:
    errors = RowErrors(limit=MAX_ERRORS)
    dataset, problems, complete = None, [], True
    try:
        dataset = summarize(read_source(source, config, errors))
    except TooManyErrorsError:
        complete = False
    except DatasetImportError as error:
        if error not in errors.found:
            problems.append(_describe(error))
    return preview.model_copy(
        update={
            "dataset": dataset,
            "errors": [*map(_describe, errors.found), *problems],
            "all_errors": complete,
        }
    )


def _describe(error: DatasetImportError) -> PreviewError:
    if isinstance(error, InvalidRowError):
        return PreviewError(file=error.file, line=error.line, reason=error.reason)
    return PreviewError(reason=str(error))


def describe_columns(table: Table, mapping: ReadingMapping | None) -> list[PreviewColumn]:
    rows = list(islice(table.read_rows(RowErrors(limit=MAX_ERRORS)), _ROWS_FOR_EXAMPLES))
    meanings = mapping.meanings() if mapping else {}
    described = []
    for column in table.header:
        values = dict.fromkeys(row.fields[column] for row in rows)
        examples = [value[:60] for value in values if not is_empty(value)][:_EXAMPLES]
        described.append(
            PreviewColumn(
                table=table.file,
                name=column,
                meaning=meanings.get(column, ""),
                examples=examples,
            )
        )
    return described
