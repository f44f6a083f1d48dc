from __future__ import annotations

import errno
import stat
import zipfile
from pathlib import Path

import pytest

from training.localization.importing import zip_archive
from training.localization.importing.zip_archive import extract_tables
from training.programs.datasets import DatasetImportError

LIMIT = 1_000_000


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def pack(tmp_path: Path, members: dict[str, bytes]) -> Path:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive


def extracted(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("prefix", ["", "campaign/", "repo-main/data/", "data\\"])
def test_tables_are_extracted_from_the_top_or_a_single_folder(
    tmp_path: Path, workspace: Path, prefix: str
) -> None:
    members = {
        f"{prefix}Receivers.CSV": b"r",
        f"{prefix}samples.csv.gz": b"s",
        f"{prefix}measurements.csv": b"m",
        f"{prefix}notes.txt": b"n",
        "__MACOSX/receivers.csv": b"x",
        f"{prefix}._receivers.csv": b"x",
        f"{prefix}.DS_Store": b"x",
    }
    extract_tables(pack(tmp_path, members), workspace, LIMIT)
    assert extracted(workspace) == ["measurements.csv", "receivers.csv", "samples.csv.gz"]
    assert (workspace / "receivers.csv").read_bytes() == b"r"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../samples.csv": b"x"}, "contains a path outside itself"),
        ({"..\\samples.csv": b"x"}, "contains a path outside itself"),
        ({"/etc/samples.csv": b"x"}, "contains a path outside itself"),
        ({"C:/samples.csv": b"x"}, "contains a path outside itself"),
        (
            {"samples.csv": b"x", "old/samples.csv": b"x"},
            "contains samples.csv twice: 'samples.csv' and 'old/samples.csv'",
        ),
        (
            {"a/samples.csv": b"x", "b/receivers.csv": b"x"},
            "The tables are in several folders of the zip: a, b",
        ),
        ({"samples.csv": b"0" * (LIMIT + 1)}, "decompresses to 1,000,001 bytes; the limit is"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_unsafe_or_ambiguous_zip_is_an_error_and_nothing_is_extracted(
    tmp_path: Path, workspace: Path, members: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DatasetImportError) as refused:
        extract_tables(pack(tmp_path, members), workspace, LIMIT)
    assert message in str(refused.value)
    assert extracted(workspace) == []


def test_link_is_an_error(tmp_path: Path, workspace: Path) -> None:
    info = zipfile.ZipInfo("samples.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DatasetImportError, match=r"contains a link, 'samples\.csv'"):
        extract_tables(tmp_path / "a.zip", workspace, LIMIT)


def test_encrypted_member_is_an_error(tmp_path: Path, workspace: Path) -> None:
    archive = pack(tmp_path, {"samples.csv": b"x"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 0x1  # general purpose flags of the member
    archive.write_bytes(content)
    with pytest.raises(DatasetImportError, match="is encrypted; create the zip without a password"):
        extract_tables(archive, workspace, LIMIT)


def test_suspicious_compression_ratio_is_an_error(tmp_path: Path, workspace: Path) -> None:
    archive = pack(tmp_path, {"samples.csv": bytes(zip_archive.RATIO_CHECK_MIN_BYTES + 1)})
    with pytest.raises(DatasetImportError, match="more than 200 times its compressed size"):
        extract_tables(archive, workspace, 10**9)


def test_too_many_members_are_an_error(tmp_path: Path, workspace: Path) -> None:
    archive = pack(tmp_path, {f"{n}.txt": b"" for n in range(zip_archive.MAX_MEMBERS + 1)})
    with pytest.raises(DatasetImportError, match="has more than 1,000 members"):
        extract_tables(archive, workspace, LIMIT)


def damage(archive: Path, after: bytes, offset: int, value: bytes) -> None:
    """Overwrite bytes behind the first occurrence of a signature."""
    content = bytearray(archive.read_bytes())
    at = content.index(after) + offset
    content[at : at + len(value)] = value
    archive.write_bytes(content)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_member_is_an_error_with_any_compression(
    tmp_path: Path, workspace: Path, method: int
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("samples.csv", "sample_id,lat,lon\n" * 50)
    damage(archive, b"samples.csv", len("samples.csv") + 9, b"\x5a\xa5\x5a\xa5")
    with pytest.raises(DatasetImportError, match="This is not a valid zip file"):
        extract_tables(archive, workspace, LIMIT)


def test_name_that_is_not_utf_8_is_an_error(tmp_path: Path, workspace: Path) -> None:
    archive = pack(tmp_path, {"ü/samples.csv": b"x"})
    damage(archive, b"PK\x01\x02", 46, b"\xff\xff")
    with pytest.raises(DatasetImportError, match="This is not a valid zip file"):
        extract_tables(archive, workspace, LIMIT)


def test_wrong_offset_in_the_table_of_contents_is_an_error(tmp_path: Path, workspace: Path) -> None:
    archive = pack(tmp_path, {"samples.csv": b"x"})
    damage(archive, b"PK\x05\x06", 16, b"\xff\xff\xff\x7f")
    with pytest.raises(DatasetImportError, match="This is not a valid zip file"):
        extract_tables(archive, workspace, LIMIT)


def test_full_disk_is_not_reported_as_a_damaged_zip(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = pack(tmp_path, {"samples.csv": b"x"})
    monkeypatch.setattr("shutil.copyfileobj", fail)
    with pytest.raises(OSError, match="No space left on device"):
        extract_tables(archive, workspace, LIMIT)


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_file_that_is_not_a_zip_is_an_error_that_lists_the_tables(
    tmp_path: Path, workspace: Path, content: bytes
) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DatasetImportError) as refused:
        extract_tables(tmp_path / "a.zip", workspace, 10)
    assert str(refused.value).startswith("This is not a valid zip file")
    assert "receivers.csv, samples.csv, measurements.csv" in str(refused.value)


def test_truncated_zip_is_an_error(tmp_path: Path, workspace: Path) -> None:
    archive = pack(tmp_path, {"samples.csv": bytes(range(256)) * 40})
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(DatasetImportError, match="not a valid zip file"):
        extract_tables(archive, workspace, LIMIT)


def test_workbook_is_recognized_although_it_is_a_zip(tmp_path: Path, workspace: Path) -> None:
    members = {"[Content_Types].xml": b"x", "xl/worksheets/sheet1.xml": b"x"}
    with pytest.raises(DatasetImportError, match="this is an Excel workbook"):
        extract_tables(pack(tmp_path, members), workspace, LIMIT)


@pytest.mark.parametrize(
    ("member", "remedy"),
    [
        ("data/all.zip", "Upload the zip inside it instead"),
        ("Messung.xlsx", "Save each sheet as “CSV UTF-8”"),
        ("receivers.csv.txt", "Rename the tables: their names end with .csv"),
        ("receivers (1).csv", "Rename the tables"),
    ],
)
def test_zip_without_tables_error_lists_its_files_and_the_fix(
    tmp_path: Path, workspace: Path, member: str, remedy: str
) -> None:
    with pytest.raises(DatasetImportError) as refused:
        extract_tables(pack(tmp_path, {member: b"x"}), workspace, LIMIT)
    assert str(refused.value) == (
        "receivers.csv, samples.csv, measurements.csv are missing; the zip contains "
        f"{member!r}. {remedy}"
    )
