from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from training.localization.importing import csv_tables
from training.localization.importing.csv_tables import Row, open_table
from training.programs.datasets import DatasetImportError, InvalidRowError


def read(folder: Path, content: bytes | str, **options: object) -> list[Row]:
    data = content.encode() if isinstance(content, str) else content
    (folder / "t.csv").write_bytes(data)
    with open_table(folder, "t.csv", ("a", "b"), ("c",), **options) as rows:  # type: ignore[arg-type]
        return list(rows)


def test_rows_have_line_numbers_and_stripped_fields(tmp_path: Path) -> None:
    rows = read(tmp_path, "a , b,c\n1, x ,3\n\n4,y,\n")
    assert [row.line for row in rows] == [2, 4]
    assert rows[0].fields == {"a": "1", "b": "x", "c": "3"}


def test_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    rows = read(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    assert rows[0].fields == {"a": "1", "b": "2"}


def test_quoted_field_may_contain_the_delimiter_and_line_breaks(tmp_path: Path) -> None:
    rows = read(tmp_path, 'a,b\n"x,1","two\nlines"\n3,4\n')
    assert rows[0].fields == {"a": "x,1", "b": "two\nlines"}
    assert rows[1].line == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv is empty; the first line must name the columns"),
        ("a,b,a\n", "t.csv line 1: column 'a' is repeated"),
        ("a,b,d\n", "t.csv line 1: unknown column 'd'; allowed are a, b, c"),
        ("a,c\n", "t.csv line 1: column 'b' is missing"),
        ("a,b\n1\n", "t.csv line 2: 1 fields, but the header has 2 columns"),
        (
            b"a,b\nM\xfcnchen,1\n",
            (
                "t.csv is not UTF-8 text: invalid start byte (0xFC). Excel and Windows may write "
                "Windows-1252; save it again as “CSV UTF-8”"
            ),
        ),
        (
            "a,b\n1,2\n".encode("utf-16"),
            "t.csv is UTF-16 text, not UTF-8; save it again as “CSV UTF-8”",
        ),
        (
            "a|b\n1|2\n",
            (
                "t.csv line 1: unknown column 'a|b'; allowed are a, b, c; separate the columns by "
                "commas"
            ),
        ),
        ("a,b\n1,2,3\n", "t.csv line 2: 3 fields, but the header has 2 columns"),
        ('a,b\n"1,2\n', "t.csv is not a valid CSV table: unexpected end of data"),
    ],
)
def test_malformed_table_is_an_error_with_file_and_line(
    tmp_path: Path, content: bytes | str, message: str
) -> None:
    with pytest.raises(DatasetImportError) as refused:
        read(tmp_path, content)
    assert str(refused.value) == message


def test_other_columns_are_ignored_if_allowed(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "a,b,note\n1,2,x\n", allow_other_columns=True)
    assert row.fields["note"] == "x"


def test_line_that_is_too_long_is_an_error_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_tables, "_MAX_LINE_LENGTH", 20)
    with pytest.raises(InvalidRowError, match="line 3: the line is longer than 20 characters"):
        read(tmp_path, f"a,b\n1,2\n{'x' * 30},1\n")


def test_small_gzip_that_decompresses_to_too_much_is_an_error(tmp_path: Path) -> None:
    rows = b"a,b\n" + b"1,2\n" * 100_000
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(rows))
    with (
        pytest.raises(DatasetImportError, match=r"t\.csv\.gz decompresses to more than 10,000"),
        open_table(tmp_path, "t.csv", ("a", "b"), max_bytes=10_000) as table,
    ):
        list(table)


@pytest.mark.parametrize("cut", [slice(0, -4), slice(0, 20), slice(5, None)], ids=str)
def test_damaged_gzip_is_an_error(tmp_path: Path, cut: slice) -> None:
    packed = gzip.compress(b"a,b\n" + bytes(range(48, 58)) * 50)
    (tmp_path / "t.csv.gz").write_bytes(packed[cut])
    with (
        pytest.raises(DatasetImportError, match=r"t\.csv\.gz is not a valid gzip file"),
        open_table(tmp_path, "t.csv", ("a", "b")) as table,
    ):
        list(table)


def test_table_and_its_gzip_together_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n"))
    with pytest.raises(DatasetImportError, match=r"both t\.csv and t\.csv\.gz are present"):
        read(tmp_path, "a,b\n")


def test_empty_number_is_nan_and_missing_column_reads_as_empty() -> None:
    row = Row("t.csv", 2, {"a": "", "b": "-1.5e3"})
    assert math.isnan(row.number("a"))
    assert math.isnan(row.number("absent"))
    assert row.number("b") == -1500


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"lat": "45", "lon": ""}, "give both lat and lon, or neither"),
        ({"lat": "-90.5", "lon": "7"}, "lat -90.5 is not between -90 and 90 degrees"),
        ({"lat": "45", "lon": "181"}, "lon 181 is not between -180 and 180 degrees"),
        (
            {"lat": "45,1", "lon": "7"},
            "lat '45,1' is not a number; write a point for the decimals",
        ),
        ({"lat": "4_5", "lon": "7"}, "lat '4_5' is not a number"),
        ({"lat": "٤٥", "lon": "7"}, "lat '٤٥' is not a number"),
        ({"lat": "inf", "lon": "7"}, "lat 'inf' is not a finite number"),
    ],
)
def test_invalid_position_is_an_error(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidRowError) as refused:
        Row("t.csv", 2, fields).position()
    assert refused.value.reason == reason


def test_position_may_be_empty_or_have_a_prefix() -> None:
    assert Row("t.csv", 2, {"lat": "", "lon": ""}).position() is None
    assert Row("t.csv", 2, {"rx_lat": "45", "rx_lon": "7"}).position("rx_") == (45, 7)


@pytest.mark.parametrize(
    "content",
    [
        "a;b;c\n1;2,5;3\n",
        "a\tb\tc\n1\t2.5\t3\n",
        "sep=;\r\na;b;c\r\n1;2,5;3\r\n",
        "A,B,C\n1,2.5,3\n",
        "a,b,c,,\n1,2.5,3,,\n,,,,\n   \n",
        '"a";"b";"c"\n"1";"2,5";"3"\n',
    ],
    ids=["semicolons", "tabs", "sep line", "upper case", "empty columns", "quoted semicolons"],
)
def test_table_as_excel_writes_it_is_read(tmp_path: Path, content: str) -> None:
    (row,) = read(tmp_path, content)
    assert [row.number(column) for column in "abc"] == [1, 2.5, 3]


def test_line_numbers_count_the_separator_line_of_excel(tmp_path: Path) -> None:
    assert [row.line for row in read(tmp_path, "sep=;\na;b\n1;2\n\n3;4\n")] == [3, 5]


def test_two_decimal_signs_in_one_table_are_an_error(tmp_path: Path) -> None:
    first, second = read(tmp_path, "a;b\n1,5;x\n1.500;x\n")
    assert first.number("a") == 1.5
    with pytest.raises(
        InvalidRowError, match=r"line 3: '1\.500': earlier numbers of the table have"
    ):
        second.number("a")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\0b", "a 'a\\x00b' contains the control character U+0000, which is not allowed"),
        ("\u200b", "a '\\u200b' consists of invisible characters"),
        ("a\u202eb", "a 'a\\u202eb' contains U+202E (right-to-left override), which changes"),
        ("x" * 201, f"a '{'x' * 40}'… has 201 characters; at most 200"),
    ],
)
def test_unstorable_or_invisible_name_is_an_error(name: str, reason: str) -> None:
    with pytest.raises(InvalidRowError) as refused:
        Row("t.csv", 2, {"a": name}).name("a")
    assert refused.value.reason.startswith(reason)


def test_names_are_normalized_to_one_spelling() -> None:
    assert Row("t.csv", 2, {"a": "Mu\u0308nchen"}).name("a") == "M\u00fcnchen"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("rssi_dbm", "1e39", "rssi_dbm 1e+39 is not between -199 and 60 dBm"),
        ("rssi_dbm", "100", "rssi_dbm 100 is not between -199 and 60 dBm; if the receiver heard"),
        ("rssi_dbm", "1e999", "rssi_dbm '1e999' is not a finite number"),
        ("snr_db", "-1e4", "snr_db -10000 is not between"),
        ("toa_ns", "1e300", "toa_ns 1e+300 is not between"),
        ("alt_m", "1e30", "alt_m 1e+30 is not between"),
        ("rx_alt_m", "-9e9", "rx_alt_m -9e+09 is not between"),
        ("frequency_offset_hz", "1e99", "frequency_offset_hz 1e+99 is not between"),
    ],
)
def test_implausible_value_is_an_error(column: str, value: str, reason: str) -> None:
    with pytest.raises(InvalidRowError) as refused:
        Row("t.csv", 2, {column: value}).number(column)
    assert refused.value.reason.startswith(reason)


def test_time_with_an_exponent_beyond_decimal_is_an_error() -> None:
    with pytest.raises(InvalidRowError, match="is not a number"):
        Row("t.csv", 2, {"toa_ns": "1e-99999999999999999999"}).arrival()
