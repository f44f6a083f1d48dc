"""Extract the tables from an untrusted zip; nothing is written outside the workspace."""

from __future__ import annotations

import errno
import io
import lzma
import shutil
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from training.programs.datasets import DatasetImportError

TABLES = ("receivers.csv", "samples.csv", "measurements.csv")
_ACCEPTED_NAMES = {*TABLES, *(f"{name}.gz" for name in TABLES)}
# What other files of the zip suggest.
_REMEDIES = {
    ".zip": "Upload the zip inside it instead",
    ".xlsx": "Save each sheet as “CSV UTF-8”",
    ".xls": "Save each sheet as “CSV UTF-8”",
    ".csv.txt": "Rename the tables: their names end with .csv",
    ".csv": "Rename the tables",
}
_ENCRYPTED = 0x1
MAX_MEMBERS = 1000
# Tables of measurements compress to about a tenth; a higher ratio than this is no table.
MAX_RATIO, RATIO_CHECK_MIN_BYTES = 200, 10 * 1024 * 1024
_MAX_READ_BYTES = 1024 * 1024
# What zipfile and its decompressors raise for a damaged archive. bz2 raises an OSError without a
# number, and a wrong offset in the table of contents becomes an invalid seek.
_DAMAGE = (
    BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError,
)  # fmt: skip
_DAMAGE_ERRNOS = (None, errno.EINVAL)


class _BoundedReader(io.BufferedReader):
    """Limits a single read, because ZipFile reads the whole member list at once."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _MAX_READ_BYTES:
            raise DatasetImportError(f"The zip has more than {MAX_MEMBERS:,} members")
        return super().read(size)


def extract_tables(archive: Path, workspace: Path, max_bytes: int) -> Path:
    with open_zip(archive) as pack:
        tables = list(_find_tables(pack))
        extract(pack, tables, workspace, max_bytes)
        _check_complete(pack, [member_name(info) for info in tables])
    return workspace


@contextmanager
def open_zip(archive: Path) -> Iterator[ZipFile]:
    """Damage that is found while it is open becomes a DatasetImportError."""
    try:
        with _BoundedReader(archive.open("rb", buffering=0)) as file, ZipFile(file) as pack:
            if len(pack.infolist()) > MAX_MEMBERS:
                raise DatasetImportError(f"The zip has more than {MAX_MEMBERS:,} members")
            yield pack
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _DAMAGE_ERRNOS:
            raise  # for example, the disk of this machine is full
        raise DatasetImportError(
            f"This is not a valid zip file ({error}). Upload a .zip with {', '.join(TABLES)}"
        ) from error


def check_members(members: Sequence[ZipInfo], max_bytes: int) -> None:
    """Raises DatasetImportError if a member is unsafe or they are too large together."""
    for info in members:
        _check_safe(info)
    size = sum(info.file_size for info in members)
    if size > max_bytes:
        raise DatasetImportError(
            f"The zip decompresses to {size:,} bytes; the limit is {max_bytes:,}"
        )


def extract(pack: ZipFile, members: Sequence[ZipInfo], workspace: Path, max_bytes: int) -> None:
    check_members(members, max_bytes)
    for info in members:
        # Only the file name: the path inside the zip is not trusted.
        with pack.open(info) as packed, (workspace / member_name(info)).open("xb") as out:
            shutil.copyfileobj(packed, out)


def _find_tables(pack: ZipFile) -> Iterator[ZipInfo]:
    # The members to extract; one unsafe member rejects the whole zip.
    paths: dict[str, str] = {}
    for info in pack.infolist():
        _check_safe(info)
        name = member_name(info)
        if info.is_dir() or name not in _ACCEPTED_NAMES or "__MACOSX" in info.filename:
            continue
        if name in paths:
            raise DatasetImportError(
                f"The zip contains {name} twice: {paths[name]!r} and {info.filename!r}"
            )
        paths[name] = info.filename
        yield info
    folders = {str(_path(path).parent) for path in paths.values()}
    if len(folders) > 1:
        raise DatasetImportError(
            f"The tables are in several folders of the zip: {', '.join(sorted(folders))}"
        )


def _check_safe(info: ZipInfo) -> None:
    path = _path(info.filename)
    if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
        raise DatasetImportError(f"The zip contains a path outside itself: {info.filename!r}")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DatasetImportError(
            f"The zip contains a link, {info.filename!r}; only regular files are allowed"
        )
    if info.file_size > max(RATIO_CHECK_MIN_BYTES, MAX_RATIO * info.compress_size):
        raise DatasetImportError(
            f"{info.filename!r} decompresses to {info.file_size:,} bytes, more than {MAX_RATIO} "
            "times its compressed size, which no table does"
        )
    if info.flag_bits & _ENCRYPTED:
        raise DatasetImportError(
            f"{info.filename!r} is encrypted; create the zip without a password"
        )


def _check_complete(pack: ZipFile, found: list[str]) -> None:
    missing = [name for name in TABLES if not {name, f"{name}.gz"}.intersection(found)]
    if not missing:
        return
    members = [info.filename for info in pack.infolist() if not info.is_dir()]
    others = [name for name in members if _path(name).name.lower() not in _ACCEPTED_NAMES]
    listed = ", ".join(repr(name[:100]) for name in others[:5])
    hint = f"; the zip contains {listed}" if listed else ""
    if "[Content_Types].xml" in others:  # of Office Open XML, which is a zip
        hint = "; this is an Excel workbook. Save each sheet as “CSV UTF-8”, and zip the tables"
        others = []
    for suffix, remedy in _REMEDIES.items():
        if any(name.lower().endswith(suffix) for name in others):
            hint += f". {remedy}"
            break
    raise DatasetImportError(
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing{hint}"
    )


def _path(name: str) -> PurePosixPath:
    # Some Windows programs write backslashes, which zipfile converts only on Windows.
    return PurePosixPath(name.replace("\\", "/"))


def member_name(info: ZipInfo) -> str:
    return _path(info.filename).name.lower()
