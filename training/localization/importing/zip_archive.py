"""Extract the tables from an untrusted zip; nothing is written outside the workspace."""

from __future__ import annotations

import io
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from training.programs.datasets import DatasetImportError

TABLES = ("receivers.csv", "samples.csv", "measurements.csv")
_ACCEPTED_NAMES = {*TABLES, *(f"{name}.gz" for name in TABLES)}
_ENCRYPTED = 0x1
MAX_MEMBERS = 1000
# Tables of measurements compress to about a tenth; a higher ratio than this is no table.
MAX_RATIO, RATIO_CHECK_MIN_BYTES = 200, 10 * 1024 * 1024
_MAX_READ_BYTES = 1024 * 1024


class _BoundedReader(io.BufferedReader):
    """Limits a single read, because ZipFile reads the whole member list at once."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _MAX_READ_BYTES:
            raise DatasetImportError(f"The zip has more than {MAX_MEMBERS:,} members")
        return super().read(size)


def extract_tables(archive: Path, workspace: Path, max_bytes: int) -> Path:
    try:
        with _BoundedReader(archive.open("rb", buffering=0)) as file, ZipFile(file) as pack:
            tables = list(_find_tables(pack))
            size = sum(info.file_size for info in tables)
            if size > max_bytes:
                raise DatasetImportError(
                    f"The zip decompresses to {size:,} bytes; the limit is {max_bytes:,}"
                )
            for info in tables:
                # Only the file name: the path inside the zip is not trusted.
                with pack.open(info) as packed, (workspace / _name(info)).open("xb") as out:
                    shutil.copyfileobj(packed, out)
    except (BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise DatasetImportError(
            f"This is not a valid zip file ({error}). Upload a .zip with {', '.join(TABLES)}"
        ) from error
    return workspace


def _find_tables(pack: ZipFile) -> Iterator[ZipInfo]:
    # The members to extract; one unsafe member rejects the whole zip.
    paths: dict[str, str] = {}
    if len(pack.infolist()) > MAX_MEMBERS:
        raise DatasetImportError(f"The zip has more than {MAX_MEMBERS:,} members")
    for info in pack.infolist():
        _check_safe(info)
        name = _name(info)
        if info.is_dir() or name not in _ACCEPTED_NAMES or "__MACOSX" in info.filename:
            continue
        if name in paths:
            raise DatasetImportError(
                f"The zip contains {name} twice: {paths[name]!r} and {info.filename!r}"
            )
        if len(PurePosixPath(info.filename).parts) > 2:
            raise DatasetImportError(
                f"{info.filename!r} is too deep in the zip; zip the folder itself, or its files"
            )
        paths[name] = info.filename
        yield info
    folders = {str(PurePosixPath(path).parent) for path in paths.values()}
    if len(folders) > 1:
        raise DatasetImportError(
            f"The tables are in several folders of the zip: {', '.join(sorted(folders))}"
        )


def _check_safe(info: ZipInfo) -> None:
    # zipfile itself converts backslashes only on Windows.
    path = PurePosixPath(info.filename.replace("\\", "/"))
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


def _name(info: ZipInfo) -> str:
    return PurePosixPath(info.filename).name
