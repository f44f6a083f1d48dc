"""Detect the kind of an upload: a zip of the three tables, or a single table."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipInfo, is_zipfile

from training.localization.importing import zip_archive
from training.localization.importing.single_table import Table, open_text, open_workbook
from training.programs.datasets import DatasetImportError, Upload

_TEXT = (".csv", ".tsv", ".txt")
_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
# Members of Office Open XML and OpenDocument files, which are zips.
_OF_WORKBOOKS = {"[Content_Types].xml", "mimetype"}
_ZIP, _GZIP, _OLE2 = b"PK", b"\x1f\x8b", b"\xd0\xcf\x11\xe0"  # first bytes


def open_single_table(
    upload: Upload, workspace: Path, max_bytes: int, sheet: str = ""
) -> Table | None:
    """None if the upload is a zip of the three tables, or of nothing that is known."""
    with upload.path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_OLE2):
        return open_workbook(upload.path, upload.name, sheet)
    if start.startswith(_GZIP):
        return open_text(_decompress(upload, workspace, max_bytes), upload.name)
    if not start.startswith(_ZIP):
        return open_text(upload.path, upload.name)
    with zip_archive.open_zip(upload.path) as pack:
        members = pack.infolist()
        if _OF_WORKBOOKS.intersection(info.filename for info in members):
            zip_archive.check_members(members, max_bytes)
            return open_workbook(upload.path, upload.name, sheet)
        member = _find_only_table(members)
        if member is None:
            return None
        zip_archive.extract(pack, [member], workspace, max_bytes)
    path = workspace / zip_archive.member_name(member)
    if path.suffix in _WORKBOOKS:
        _check_workbook(path, max_bytes)
        return open_workbook(path, path.name, sheet)
    return open_text(path, path.name)


def _check_workbook(path: Path, max_bytes: int) -> None:
    """A workbook inside a zip may be a zip too, with the same limits."""
    if not is_zipfile(path):  # also with other bytes before its first member
        return
    with zip_archive.open_zip(path) as pack:
        zip_archive.check_members(pack.infolist(), max_bytes)


def _find_only_table(members: Sequence[ZipInfo]) -> ZipInfo | None:
    tables = [
        info for info in members
        if Path(zip_archive.member_name(info)).suffix in (*_TEXT, *_WORKBOOKS)
        and "__MACOSX" not in info.filename
    ]  # fmt: skip
    if len(tables) != 1 or zip_archive.member_name(tables[0]) in zip_archive.TABLES:
        return None
    return tables[0]


def _decompress(upload: Upload, workspace: Path, max_bytes: int) -> Path:
    path = workspace / "table.csv"
    try:
        with gzip.open(upload.path) as packed, path.open("xb") as out:
            shutil.copyfileobj(_Limited(packed, max_bytes), out)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetImportError(f"{upload.name} is not a valid gzip file: {error}") from error
    return path


class _Limited:
    def __init__(self, file: gzip.GzipFile, max_bytes: int) -> None:
        self._file, self._max_bytes = file, max_bytes

    def read(self, size: int = -1) -> bytes:
        if self._file.tell() > self._max_bytes:
            raise DatasetImportError(
                f"The file decompresses to more than {self._max_bytes:,} bytes"
            )
        return self._file.read(size)
