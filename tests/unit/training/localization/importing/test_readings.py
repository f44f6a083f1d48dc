"""Tables of readings are read like those of an import, without positions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workbooks import write_workbook
from training.localization.importing import readings
from training.localization.importing.readings import MAX_ERRORS, read_readings
from training.programs.datasets import Upload
from training.programs.readings import ReadingOptions, ReadingTable

OPTIONS = ReadingOptions(receivers=["Hill", "Town", "Car"], mobile=["Car"],
                         signals=["rssi_dbm", "toa_ns"])  # fmt: skip


def read(folder: Path, content: str | bytes, options: ReadingOptions = OPTIONS) -> ReadingTable:
    path = folder / "upload"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    workspace = folder / f"workspace-{len(list(folder.iterdir()))}"
    workspace.mkdir()
    return read_readings(Upload(path, "table.csv"), workspace, 10**7, options)


def rows(table: ReadingTable) -> list[tuple[str, str, float | None]]:
    assert table.errors == []
    values = zip(table.sample_ids, table.receiver_ids, table.signals["rssi_dbm"], strict=True)
    return list(values)


WIDE = [("a", "Hill", -80.5), ("a", "Town", -90.0), ("b", "Car", -99.0)]


@pytest.mark.parametrize(
    ("separator", "decimal"), [("\t", ","), ("\t", "."), (";", ","), (",", "."), ("|", ".")]
)
def test_wide_table_from_a_spreadsheet_is_read(
    tmp_path: Path, separator: str, decimal: str
) -> None:
    lines = [["Sample", "Hill", "town", "Car"], ["a", "-80.5", "-90", ""], ["b", "", "", "-99"]]
    text = "\r\n".join(separator.join(line) for line in lines)
    text = text.replace("-80.5", f"-80{decimal}5")
    table = read(tmp_path, text)
    assert rows(table) == WIDE
    assert table.lines == [2, 2, 3]
    assert table.warnings == []


def test_long_table_names_sample_receiver_and_strength(tmp_path: Path) -> None:
    text = "Transmission,Gateway,RSSI (dBm)\na,Hill,-80.5\nb,Car,-99\na,Town,-90\n"
    assert sorted(rows(read(tmp_path, text))) == WIDE


def test_long_table_without_sample_column_is_one_sample(tmp_path: Path) -> None:
    table = read(tmp_path, "receiver;strength\nHill;-80,5\nTown;-90\n")
    assert {sample for sample, _, _ in rows(table)} == {"all rows"}
    assert table.notes == ["There is no column of samples: all rows are one sample."]


def test_long_table_of_samples_heard_once_keeps_them_separate(tmp_path: Path) -> None:
    table = read(tmp_path, "sample,receiver,rssi\na,Hill,-80\nb,Hill,-81\n")
    assert [sample for sample, _, _ in rows(table)] == ["a", "b"]


def test_workbook_and_windows_text_are_read(tmp_path: Path) -> None:
    cells: list[list[object]] = [
        ["Sample", "Hill", "Town", "Car"],
        ["a", -80.5, -90, ""],
        ["b", "", "", -99],
    ]
    write_workbook(tmp_path / "book", {"Sheet 1": cells})
    table = read(tmp_path, (tmp_path / "book").read_bytes())
    assert rows(table) == WIDE
    assert table.text.splitlines()[1] == "a\t-80.5\t-90\t"
    windows = ReadingOptions(receivers=["Höhe", "Town"], signals=["rssi_dbm"])
    found = read(tmp_path, "Höhe;Town\n-80;-90\n".encode("cp1252"), windows)
    assert [receiver for _, receiver, _ in rows(found)] == ["Höhe", "Town"]


def test_columns_of_several_signals(tmp_path: Path) -> None:
    text = "Hill_rssi,Hill_toa,Town rssi,Town toa (ns),Hill snr\n-80,1764124800123456789,-90,"
    table = read(tmp_path, f"{text}1764124800123456790.25,7\n")
    assert [value for _, _, value in rows(table)] == [-80.0, -90.0]
    assert table.signals["toa_ns"] == [0.0, 1.25]  # of 19 digits, none is lost
    assert "Not used: snr_db; the model was trained with rssi_dbm and toa_ns." in table.notes


def test_names_of_columns_on_the_page_are_recognized(tmp_path: Path) -> None:
    table = read(tmp_path, "Sample;Receiver;RSSI (dBm);Arrival time (ns)\na;Hill;-80;7\n")
    assert rows(table) == [("a", "Hill", -80.0)]
    assert table.signals["toa_ns"] == [0.0]


def test_arrival_time_of_zero_counts_as_an_arrival(tmp_path: Path) -> None:
    table = read(tmp_path, "receiver,toa\nHill,0\nTown,5\n")
    assert table.signals["toa_ns"] == [0.0, 5.0]


def test_sentinels_are_found_and_reported(tmp_path: Path) -> None:
    text = "Hill,Town,Car\n" + "".join(f"{-80 - n},100,{-70 - n}\n" for n in range(6))
    table = read(tmp_path, text)
    assert {receiver for _, receiver, _ in rows(table)} == {"Hill", "Car"}
    assert table.notes == ["100 in 33% of the readings: read as not heard."]


def test_constant_reading_of_one_receiver_is_no_sentinel(tmp_path: Path) -> None:
    text = "Hill,Town,Car\n" + "".join(f"{-80 - n},-101,{-70 - n}\n" for n in range(12))
    table = read(tmp_path, text)
    assert len(rows(table)) == 36
    assert table.notes == []
    both = read(tmp_path, "Hill,Town,Car\n" + "".join(f"{-80 - n},-120,-120\n" for n in range(12)))
    assert {receiver for _, receiver, _ in rows(both)} == {"Hill"}


def test_every_error_names_row_and_column(tmp_path: Path) -> None:
    table = read(tmp_path, "Sample\tHill\tTown\na\t-80,x\t-9e9x\n\tlow\t-90\nb\t-70\t-80\t9\n")
    assert [str(error) for error in table.errors] == [
        "Row 2, column Hill: rssi_dbm '-80,x' is not a number.",
        "Row 2, column Town: rssi_dbm '-9e9x' is not a number.",
        "Row 3, column Sample: Sample is empty.",
        "Row 4: 4 fields, but the header has 3 columns.",
    ]


def test_repeated_reading_names_the_first_row(tmp_path: Path) -> None:
    table = read(tmp_path, "sample,receiver,rssi\na,Hill,-80\na,Town,-80\na,hill,-81\n")
    assert [str(error) for error in table.errors] == [
        "Row 4, column receiver: receiver 'Hill' is in row 2 already, for the same sample 'a'."
    ]


def test_unknown_and_missing_receivers_are_named(tmp_path: Path) -> None:
    table = read(tmp_path, "Hill,Valley\n-80,-70\n-81,-72\n")
    assert [receiver for _, receiver, _ in rows(table)] == ["Hill", "Hill"]
    assert table.warnings == [
        "Not used: readings of Valley, which the model does not know; it has Hill, Town, Car.",
        (
            "The table has no column for Town, Car. Receivers without a column count as having "
            "heard nothing; mark those that were not listening as out of service."
        ),
    ]
    alone = read(tmp_path, "receiver,rssi\nValley,-80\n")
    assert [str(error) for error in alone.errors] == [
        "No reading of a receiver of the model; it has Hill, Town, Car."
    ]


@pytest.mark.parametrize(
    ("rate", "samples", "is_reported"),
    [(0.97, 5, True), (0.97, 3, False), (1.0, 4, True), (1.0, 2, False), (0.6, 500, False)],
)
def test_receiver_that_fell_silent_is_named(
    tmp_path: Path, rate: float, samples: int, is_reported: bool
) -> None:
    options = OPTIONS.model_copy(update={"detection_rates": {"Town": rate, "Hill": 1.0}})
    lines = "".join(f"{n},-80,,-90\n" for n in range(samples))
    found = read(tmp_path, f"sample,Hill,Town,Car\n{lines}", options)
    expected = (
        "Town heard nothing in this table, but at least 80% of the samples that the model was "
        "trained with. Mark receivers that were not listening as out of service."
    )
    assert found.warnings == [expected] * is_reported


def test_row_without_readings_is_named(tmp_path: Path) -> None:
    table = read(tmp_path, "Sample;Hill;Town;Car\na;-80;;\nb;;;\nc;;-90;\n")
    assert table.warnings == ["No receiver of the model heard anything in row 3."]


def test_position_of_a_mobile_receiver_is_read(tmp_path: Path) -> None:
    text = "sample,receiver,rssi,rx_lat,rx_lon\na,Car,-80,45.5,7.5\na,Hill,-80,1,2\n"
    table = read(tmp_path, text)
    assert list(table.measurements()) == [
        {"sample_id": "a", "receiver_id": "Car", "rssi_dbm": -80.0, "rx_lat": 45.5, "rx_lon": 7.5},
        {"sample_id": "a", "receiver_id": "Hill", "rssi_dbm": -80.0},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-80\t-90\n-81\t-91\n", ("Row 1: the first row must name the columns, such as the "
         "receivers Hill, Town, Car.")),
        ("foo,bar\nx,y\n", ("The columns cannot be guessed: a wide table needs receivers, by the "
         "name of their column. Name a column after each receiver of the model (Hill, Town, Car), "
         "or name columns sample, receiver and rssi.")),
        ("Hill,Town\n", "No reading of a receiver of the model; it has Hill, Town, Car."),
    ],
)  # fmt: skip
def test_error_of_an_unreadable_table_names_the_fix(tmp_path: Path, text: str, reason: str) -> None:
    assert [str(error) for error in read(tmp_path, text).errors] == [reason]


def test_errors_and_readings_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, "Hill,Town\n" + "x,y\n" * 500)
    assert len(table.errors) in (MAX_ERRORS, MAX_ERRORS + 1)
    assert not table.all_errors
    monkeypatch.setattr(readings, "MAX_READINGS", 3)
    table = read(tmp_path, "Hill,Town\n" + "-80,-90\n" * 50)
    errors = [str(error) for error in table.errors]
    assert errors == ["Row 3: more than 3 readings; send them in parts."]
    assert len(table.lines) == 4


def test_receivers_may_be_named_by_numbers(tmp_path: Path) -> None:
    numbered = ReadingOptions(receivers=["1", "2"], signals=["rssi_dbm"])
    table = read(tmp_path, "1,2\n-80,-90\n", numbered)
    assert rows(table) == [("row 2", "1", -80.0), ("row 2", "2", -90.0)]


def test_returned_text_is_read_like_the_file(tmp_path: Path) -> None:
    text = 'sample,Hill,Town\n"""north"" mast",-80.5,\n\n"b, c",,-90\n'
    table = read(tmp_path, text)
    assert table.sample_ids == ['"north" mast', "b, c"]
    again = read(tmp_path, table.text)
    assert rows(again) == rows(table)
    assert again.lines == table.lines


def test_large_table_is_not_returned_as_text(tmp_path: Path) -> None:
    text = "sample,Hill,Town\n" + "".join(f"sample {n},-80,-90\n" for n in range(20_000))
    table = read(tmp_path, text)
    assert len(table.lines) == 40_000
    assert table.text == ""


@pytest.mark.parametrize("character", ["(", "_"])
def test_column_with_a_long_name_is_refused(tmp_path: Path, character: str) -> None:
    (error,) = read(tmp_path, f"sample,Hill,{character * 1001}\na,-80,-90").errors
    assert error.line == 1
    assert "he name of column 3 has 1,001 characters; at most 1,000 are allowed" in error.reason


def test_table_with_many_blank_lines_is_not_returned_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MAX_TEXT", 100)
    short, long = (
        read(tmp_path, "\n".join(["sample,Hill", "a,-80", *[""] * blank, "b,-90"]))
        for blank in (50, 200)
    )
    assert short.text.count("\n") == 52
    assert (long.text, rows(long)) == ("", [("a", "Hill", -80.0), ("b", "Hill", -90.0)])
