"""A zip from a stranger: only the tables are taken out of it, and nothing lands elsewhere."""

from __future__ import annotations

import io
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from training.localization.importing.csv_tables import DatasetImportError

TABLES = ("receivers.csv", "samples.csv", "measurements.csv")
_WANTED = {*TABLES, *(f"{name}.gz" for name in TABLES)}
_ENCRYPTED = 0x1
MAX_MEMBERS = 1000
# Tables of measurements shrink to a tenth or so; what shrinks to less than this is no table.
MAX_RATIO, RATIO_CHECK_MIN_BYTES = 200, 10 * 1024 * 1024
_LONGEST_READ = 1024 * 1024


class _Careful(io.BufferedReader):
    """A list of members longer than this is asked for in one read, and made only of members."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _LONGEST_READ:
            raise DatasetImportError(f"The zip lists more than {MAX_MEMBERS:,} members")
        return super().read(size)


def unpack(archive: Path, workspace: Path, max_bytes: int) -> Path:
    """The tables of a zip, at its top or in its one folder, written into `workspace`."""
    try:
        with _Careful(archive.open("rb", buffering=0)) as file, ZipFile(file) as pack:
            tables = list(_tables(pack))
            size = sum(info.file_size for info in tables)
            if size > max_bytes:
                raise DatasetImportError(
                    f"The zip unpacks to {size:,} bytes, at most {max_bytes:,} may be"
                )
            for info in tables:
                # The name alone: where in the zip it lay decides nothing here.
                with pack.open(info) as packed, (workspace / _name(info)).open("xb") as out:
                    shutil.copyfileobj(packed, out)
    except (BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise DatasetImportError(f"The zip cannot be read: {error}") from error
    return workspace


def _tables(pack: ZipFile) -> Iterator[ZipInfo]:
    """The members worth reading; one suspicious member spoils the whole zip."""
    seen: dict[str, str] = {}
    if len(pack.infolist()) > MAX_MEMBERS:
        raise DatasetImportError(f"The zip lists more than {MAX_MEMBERS:,} members")
    for info in pack.infolist():
        _refuse_unsafe(info)
        name = _name(info)
        if info.is_dir() or name not in _WANTED or "__MACOSX" in info.filename:
            continue
        if name in seen:
            raise DatasetImportError(
                f"The zip holds {name} twice: {seen[name]!r}, {info.filename!r}"
            )
        if len(PurePosixPath(info.filename).parts) > 2:
            raise DatasetImportError(
                f"{info.filename!r} lies too deep in the zip: zip the folder itself, or its files"
            )
        seen[name] = info.filename
        yield info
    folders = {str(PurePosixPath(place).parent) for place in seen.values()}
    if len(folders) > 1:
        raise DatasetImportError(
            f"The zip's tables lie in several folders: {', '.join(sorted(folders))}"
        )


def _refuse_unsafe(info: ZipInfo) -> None:
    # Python itself turns a backslash into a slash only on Windows.
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
        raise DatasetImportError(f"The zip names a path outside itself: {info.filename!r}")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DatasetImportError(f"The zip holds a link, {info.filename!r}; only files are allowed")
    if info.file_size > max(RATIO_CHECK_MIN_BYTES, MAX_RATIO * info.compress_size):
        raise DatasetImportError(
            f"{info.filename!r} unpacks to {info.file_size:,} bytes, more than {MAX_RATIO} times "
            "its size in the zip; no table does"
        )
    if info.flag_bits & _ENCRYPTED:
        raise DatasetImportError(
            f"{info.filename!r} in the zip is encrypted; zip it without a password"
        )


def _name(info: ZipInfo) -> str:
    return PurePosixPath(info.filename).name
