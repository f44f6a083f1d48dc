"""Single tables with a mapping, given or guessed, become the same arrays as the three tables."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.workbooks import write_workbook
from training.localization.config import ImportConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation.dataset_summary import summarize
from training.localization.geometry import LocalCoordinates
from training.localization.importing import importer
from training.localization.importing.preview import MAX_ERRORS, preview_import
from training.localization.importing.zip_archive import RATIO_CHECK_MIN_BYTES
from training.localization.table_mapping import TableMapping
from training.programs.datasets import (
    DatasetImportError,
    ImportPreview,
    MappingRequiredError,
    Upload,
)

Cells = Sequence[Sequence[object]]
WIDE: Cells = [
    ["Latitude", "Longitude", "Hill", "Town"],
    *[[45 + n / 100, 7.5 + n / 50, -80 - n, -70 if n % 2 else 100] for n in range(30)],
]
LONG: Cells = [
    ["id", "packet", "gateway", "RSSI (dBm)", "tx_lat", "tx_lon", "gateway_lat", "gateway_lon"],
    *[
        [2 * n + index, f"p{n}", gateway, -80 - n, 45 + n / 100, 7.5 + n / 50, lat, 7.6]
        for n in range(30)
        for index, (gateway, lat) in enumerate([("hill", 45.1), ("town", 45.2)])
    ],
]
Send = Callable[..., Upload]


def to_text(cells: Cells, delimiter: str = ",", decimals: str = ".") -> str:
    rows = [[str(cell).replace(".", decimals) for cell in row] for row in cells[1:]]
    return "\n".join(delimiter.join(map(str, row)) for row in [cells[0], *rows]) + "\n"


@pytest.fixture
def send(tmp_path: Path) -> Send:
    def write(content: str | bytes, name: str = "table.csv") -> Upload:
        path = tmp_path / "upload"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Upload(path, name)

    return write


def preview(upload: Upload, mapping: dict[str, object] | None = None) -> ImportPreview:
    config = ImportConfig(mapping=TableMapping.model_validate(mapping) if mapping else None)
    return preview_import(upload, empty_folder(upload), 10**7, config, summarize)


def read(upload: Upload, mapping: object = None) -> Dataset:
    """With the guessed mapping, unless another is given."""
    mapping = mapping or preview(upload).mapping
    config = ImportConfig(mapping=TableMapping.model_validate(mapping))
    return importer.read_upload(upload, empty_folder(upload), 10**7, config)


def empty_folder(upload: Upload) -> Path:
    folder = upload.path.parent / f"workspace-{len(list(upload.path.parent.iterdir()))}"
    folder.mkdir()
    return folder


def test_wide_table_is_guessed_and_read(send: Send) -> None:
    upload = send(to_text(WIDE))
    found = preview(upload)
    assert found.errors == []
    assert found.notes == ["100 in 25% of the readings: read as not heard."]
    meanings = {column.name: column.meaning for column in found.columns}
    assert meanings == {
        "Latitude": "lat",
        "Longitude": "lon",
        "Hill": "rssi_dbm of receiver Hill",
        "Town": "rssi_dbm of receiver Town",
    }
    dataset = read(upload)
    assert [receiver.id for receiver in dataset.receivers] == ["Hill", "Town"]
    assert dataset.rssi[:2] == pytest.approx(np.array([[-80, np.nan], [-81, -70]]), nan_ok=True)
    assert dataset.sample_ids is not None
    assert dataset.sample_ids[:2] == ("2", "3")


def test_long_table_is_guessed_and_read(send: Send) -> None:
    upload = send(to_text(LONG))
    found = preview(upload)
    assert found.notes == ["Not read: 'id'."]
    assert found.dataset is not None
    assert found.dataset["samples"] == 30
    dataset = read(upload)
    assert [(one.id, one.lat, one.lon) for one in dataset.receivers] == [
        ("hill", 45.1, 7.6), ("town", 45.2, 7.6),
    ]  # fmt: skip
    assert dataset.rssi[1].tolist() == [-81, -81]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_separator_and_encoding_gives_the_same_arrays(
    send: Send, delimiter: str, encoding: str
) -> None:
    cells = [["Latitude", "Longitude", "Höhe", "Town"], *WIDE[1:]]
    text = to_text(cells, delimiter, "." if delimiter == "," else ",")
    dataset = read(send(text.encode(encoding)))
    assert [receiver.id for receiver in dataset.receivers] == ["Höhe", "Town"]
    assert dataset.content_hash != ""
    assert dataset.rssi[1].tolist() == [-81, -70]


def test_workbook_gives_the_arrays_of_its_text(send: Send, tmp_path: Path) -> None:
    write_workbook(tmp_path / "book.xlsx", {"Notes": [["Only text"]], "Data": WIDE})
    upload = Upload(tmp_path / "book.xlsx", "book.xlsx")
    mapping = {**(preview(send(to_text(WIDE))).mapping or {}), "sheet": "Data"}
    from_workbook, from_text = read(upload, mapping), read(send(to_text(WIDE)))
    assert from_workbook.content_hash == from_text.content_hash
    with pytest.raises(DatasetImportError, match="has no sheet 'Other'; it has 'Notes', 'Data'"):
        read(upload, {**mapping, "sheet": "Other"})


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_compressed_table_is_read(send: Send, tmp_path: Path, kind: str) -> None:
    if kind == "gzip":
        upload = send(gzip.compress(to_text(WIDE).encode()), "table.csv.gz")
    else:
        with zipfile.ZipFile(tmp_path / "upload", "w") as pack:
            pack.writestr("folder/table.csv", to_text(WIDE))
            pack.writestr("README.md", "About")
        upload = Upload(tmp_path / "upload", "table.zip")
    assert len(read(upload)) == 30


def test_quantity_is_part_of_the_column_name(send: Send) -> None:
    header = ["lat", "lon", "rssi_hill", "snr_hill", "rssi_town", "cbrssdr1"]
    rows = [[45 + n / 100, 7.5 + n / 50, -80, 5, -70, -90] for n in range(30)]
    dataset = read(send(to_text([header, *rows])))
    assert [receiver.id for receiver in dataset.receivers] == ["hill", "town", "cbrssdr1"]
    assert dataset.snr[0] == pytest.approx([5, np.nan, np.nan], nan_ok=True)
    assert dataset.rssi[0].tolist() == [-80, -70, -90]


def test_long_table_without_an_id_is_grouped_by_place_and_time(send: Send) -> None:
    cells = [
        [*LONG[0][2:], "Time"],
        *[[*row[2:], f"12:{n // 2:02}"] for n, row in enumerate(LONG[1:])],
    ]
    found = preview(send(to_text(cells)))
    assert found.mapping is not None
    assert found.mapping["sample_id"] == ["tx_lat", "tx_lon", "Time"]
    assert "Rows with the same 'tx_lat', 'tx_lon', 'Time' are one sample." in found.notes
    assert found.dataset is not None
    assert found.dataset["samples"] == 30


def test_receiver_with_several_positions_moves(send: Send) -> None:
    cells = [LONG[0], *[[*row[:6], 45.1 + n / 1000, 7.6] for n, row in enumerate(LONG[1:])]]
    dataset = read(send(to_text(cells)))
    assert all(receiver.lat is None for receiver in dataset.receivers)
    assert len({tuple(position) for position in dataset.rx[:, 0, :2].tolist()}) == 30


def spacing(dataset: Dataset) -> float:
    """Meters between the first two samples."""
    return float(np.linalg.norm(dataset.target[1] - dataset.target[0]))


def in_meters(names: Sequence[str], east: float, north: float, *rest: object) -> Cells:
    """30 samples, each 30 m east and 40 m north of the one before."""
    return [
        [*names, "Hill"],
        *[[east + 30 * n, north + 40 * n, *rest, -80 - n % 20] for n in range(30)],
    ]


def test_utm_coordinates_with_a_column_of_zones_are_read(send: Send) -> None:
    cells = in_meters(["Easting", "Northing", "UTM zone"], 448_251.8, 5_411_932.7, "31U")
    found = preview(send(to_text(cells)))
    assert found.errors == []
    assert found.mapping is not None
    assert (found.mapping["easting"], found.mapping["zone"]) == ("Easting", "UTM zone")
    dataset = read(send(to_text(cells)))
    lat, lon = dataset.frame.to_geodetic(dataset.target[0])
    assert (float(lat), float(lon)) == pytest.approx((48.8582, 2.2945), abs=2e-5)
    assert spacing(dataset) == pytest.approx(50 / 0.9996, rel=1e-4)


def test_utm_coordinates_without_a_zone_are_local_meters(send: Send) -> None:
    cells = in_meters(["easting", "northing"], 448_251.8, 5_411_932.7)
    found = preview(send(to_text(cells)))
    assert found.mapping is not None
    assert found.mapping["x_m"] == "easting"
    assert any("with utm_zone" in note for note in found.notes)
    assert spacing(read(send(to_text(cells)))) == pytest.approx(50, rel=1e-4)
    mapping = {
        "layout": "wide", "easting": "easting", "northing": "northing", "utm_zone": "31N",
        "receivers": {"Hill": {"receiver_id": "Hill"}},
    }  # fmt: skip
    dataset = read(send(to_text(cells)), mapping)
    assert float(dataset.frame.to_geodetic(dataset.target[0])[0]) == pytest.approx(
        48.8582, abs=2e-5
    )


def test_latitudes_in_meters_are_read_as_meters_near_their_middle(
    send: Send, tmp_path: Path
) -> None:
    """As in UJIIndoorLoc. On the plane of an origin 4,800 km away, distances were 1.5 times."""
    cells = in_meters(["LONGITUDE", "LATITUDE"], -7_541.26, 4_864_921.0)
    found = preview(send(to_text(cells)))
    assert found.errors == []
    assert found.mapping is not None
    assert found.mapping["offset_m"] == [-7000, 4_866_000]
    assert "'LATITUDE' and 'LONGITUDE' are not degrees: read as meters." in found.notes
    dataset = read(send(to_text(cells)))
    assert spacing(dataset) == pytest.approx(50, rel=1e-4)
    path = tmp_path / "dataset.safetensors"
    dataset.save(path)
    coordinates = Dataset.load(path).coordinates
    assert coordinates == LocalCoordinates(0.0, 0.0, -7000, 4_866_000)
    places = dataset.frame.to_geodetic(dataset.target)
    assert coordinates.from_geodetic(*places)[:2] == pytest.approx(
        np.array([[-7_541.26, 4_864_921.0], [-7_511.26, 4_864_961.0]]), abs=1e-2
    )


def test_meters_far_from_the_origin_are_refused(send: Send) -> None:
    cells = in_meters(["x", "y"], 0, 4_864_921.0)
    receivers = {"Hill": {"receiver_id": "Hill"}}
    found = preview(
        send(to_text(cells)), {"layout": "wide", "x_m": "x", "y_m": "y", "receivers": receivers}
    )
    assert found.errors[0].line == 2
    assert found.errors[0].reason == (
        "x_m 0 and y_m 4,864,921 are more than 500 km from the origin; set offset_m to the x_m and "
        "y_m of a place nearby"
    )


def test_several_readings_of_a_receiver_are_refused_or_averaged(send: Send) -> None:
    cells: Cells = [
        ["sample", "lat", "lon", "gateway", "rssi"],
        *[
            [f"s{n}", 45 + n / 100, 7.5, gateway, level]
            for n in range(30)
            for gateway, level in (("a", -80), ("b", -60), ("a", -90), ("a", -85.5))
        ],
    ]
    found = preview(send(to_text(cells)))
    assert found.mapping is not None
    assert found.errors[0].reason == (
        "receiver 'a' is repeated for sample 's0'; give each reading its own sample, or set "
        "repeated to mean"
    )
    dataset = read(send(to_text(cells)), {**found.mapping, "repeated": "mean"})
    assert dataset.rssi[:, 0] == pytest.approx(-85.1667, abs=1e-4)
    assert (dataset.rssi[:, 1] == -60).all()
    timed: Cells = [[*cells[0], "toa_ns"], *[[*row, 1000 + n] for n, row in enumerate(cells[1:])]]
    errors = preview(
        send(to_text(timed)), {**found.mapping, "toa_ns": "toa_ns", "repeated": "mean"}
    ).errors
    assert "are different transmissions" in errors[0].reason


def long_in_meters(moving: float = 0.0) -> Cells:
    return [
        ["sample", "x", "y", "anchor", "anchor_x", "anchor_y", "rssi"],
        *[
            [f"s{n}", 0.5 * n, 0.25 * n, anchor, x + moving * n, y, -60.5 - n % 20]
            for n in range(30)
            for anchor, x, y in (("a", 0.5, 0.25), ("b", 9.5, 4.25))
        ],
    ]


@pytest.mark.parametrize(("delimiter", "decimals"), [(",", "."), (";", ",")])
def test_receivers_in_local_meters_are_read(send: Send, delimiter: str, decimals: str) -> None:
    upload = send(to_text(long_in_meters(), delimiter, decimals))
    found = preview(upload)
    assert found.errors == []
    assert found.mapping is not None
    assert (found.mapping["receiver_x_m"], found.mapping["receiver_y_m"]) == (
        "anchor_x",
        "anchor_y",
    )
    dataset = read(upload)
    assert dataset.coordinates == LocalCoordinates(0.0, 0.0, 0.0, 0.0)
    first, second = dataset.rx[0, :, :2]
    assert second - first == pytest.approx([9.0, 4.0], abs=1e-3)
    assert np.linalg.norm(dataset.target[1] - first) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(("delimiter", "decimals"), [(",", "."), (";", ",")])
def test_receivers_that_move_in_local_meters_are_read(
    send: Send, delimiter: str, decimals: str
) -> None:
    dataset = read(send(to_text(long_in_meters(0.5), delimiter, decimals)))
    assert all(receiver.lat is None for receiver in dataset.receivers)
    moved = dataset.rx[10, :, :2] - dataset.rx[0, :, :2]
    assert moved == pytest.approx(np.array([[5.0, 0.0], [5.0, 0.0]]), abs=1e-3)
    assert np.nanmin(dataset.rssi) == -79.5


def test_receivers_of_columns_in_utm_coordinates_are_read(send: Send) -> None:
    cells = in_meters(["easting", "northing"], 448_251.8, 5_411_932.7)
    receiver = {"receiver_id": "Hill", "x_m": 448_551.8, "y_m": 5_412_332.7, "alt_m": 90}
    mapping: dict[str, object] = {
        "layout": "wide", "easting": "easting", "northing": "northing", "utm_zone": "31N",
        "receivers": {"Hill": receiver},
    }  # fmt: skip
    dataset = read(send(to_text(cells)), mapping)
    distance = np.linalg.norm(dataset.rx[0, 0, :2] - dataset.target[0])
    assert float(distance) == pytest.approx(500 / 0.9996, rel=1e-4)
    wrong = {**mapping, "receivers": {"Hill": {"receiver_id": "Hill", "x_m": 3, "y_m": 4}}}
    (error,) = preview(send(to_text(cells)), wrong).errors
    assert error.reason.startswith("the position of receiver 'Hill': easting 3 is not between")


@pytest.mark.parametrize(
    "values",
    [
        {"easting": "e", "northing": "n"},
        {"easting": "e", "northing": "n", "utm_zone": "31N", "zone": "z"},
        {"lat": "e", "lon": "n", "utm_zone": "31N"},
    ],
)
def test_utm_coordinates_need_one_zone(values: dict[str, object]) -> None:
    receivers = {"hill": {"receiver_id": "hill"}}
    with pytest.raises(ValueError, match="easting and northing need utm_zone, such as 32N"):
        TableMapping.model_validate({"layout": "wide", "receivers": receivers, **values})


def test_positions_given_by_locator_or_in_meters_are_read(send: Send) -> None:
    locators: Cells = [
        ["Locator", "hill"],
        *[[f"JN45{chr(97 + n % 24)}b", -80 - n] for n in range(30)],
    ]
    assert len(read(send(to_text(locators)))) == 30
    meters: Cells = [["x", "y", "hill"], *[[-3.5 * n, 2 * n, -80] for n in range(30)]]
    dataset = read(send(to_text(meters)))
    span = np.ptp(dataset.target, axis=0)
    assert span == pytest.approx([3.5 * 29, 2 * 29], abs=1e-3)


def test_every_error_is_found_at_once(send: Send) -> None:
    cells = [list(row) for row in WIDE]
    cells[3][0], cells[5][2], cells[7][1] = "north", 300, ""
    found = preview(send(to_text(cells)), {"layout": "wide", "lat": "Latitude",
        "lon": "Longitude", "receivers": {"Hill": {"receiver_id": "Hill"}}})  # fmt: skip
    assert found.dataset is None
    assert found.all_errors
    assert [error.line for error in found.errors] == [4, 8, 6]
    assert "lat 'north' is not a number" in found.errors[0].reason


@pytest.mark.parametrize("silence", [-105, 0, -200, 100])
def test_number_that_stands_for_not_heard_is_recognized(send: Send, silence: int) -> None:
    rows = [[45 + n / 100, 7 + n / 50, -80 - n % 7, silence, silence] for n in range(39)]
    header = ["lat", "lon", "hill", "town", "bridge"]
    found = preview(send(to_text([header, *rows, [45.5, 7.1, silence, -70, -75]])))
    assert found.mapping is not None
    assert found.mapping["not_heard"] == [silence]
    assert f"{silence} in 66% of the readings: read as not heard." in found.notes


def test_receiver_silent_in_all_previewed_rows_is_still_a_receiver(send: Send) -> None:
    rows = [[*row, 100] for row in WIDE[1:]]
    found = preview(send(to_text([[*WIDE[0], "Sea"], *rows])))
    assert [column.meaning for column in found.columns][-1] == "rssi_dbm of receiver Sea"


def test_frequent_plausible_reading_is_not_taken_for_not_heard(send: Send) -> None:
    rows = [[45 + n / 100, 7 + n / 50, -90 + n % 4] for n in range(40)]
    found = preview(send(to_text([["lat", "lon", "hill"], *rows])))
    assert found.mapping is not None
    assert "not_heard" not in found.mapping


def test_number_of_errors_is_limited(send: Send) -> None:
    cells = [WIDE[0], *[[200, 7, -80, -80]] * (MAX_ERRORS + 50)]
    found = preview(send(to_text(cells)))
    assert len(found.errors) == MAX_ERRORS
    assert not found.all_errors


def test_table_without_a_position_names_what_is_missing(send: Send) -> None:
    found = preview(send(to_text([["hill", "town"], *[[-80, -70]] * 30])))
    assert found.mapping is None
    assert "name the columns of a position" in found.errors[0].reason
    assert [column.examples for column in found.columns] == [["-80"], ["-70"]]


def test_table_without_a_mapping_is_not_imported(send: Send) -> None:
    upload = send(to_text(WIDE), "mine.csv")
    with pytest.raises(MappingRequiredError, match=r"mine\.csv is a single table"):
        importer.read_upload(upload, empty_folder(upload), 10**7)


def test_column_of_the_mapping_that_is_missing_is_named(send: Send) -> None:
    mapping = preview(send(to_text(WIDE))).mapping
    with pytest.raises(DatasetImportError, match="has no column 'Town'"):
        read(send("Latitude,Longitude,Hill\n45,7,-80\n"), mapping)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"layout": "wide", "lat": "a"}, "name the columns of a position"),
        ({"layout": "wide", "lat": "a", "lon": "b"}, "needs receivers"),
        ({"layout": "long", "lat": "a", "lon": "b", "rssi_dbm": "c"}, "needs receiver_id"),
        (
            {"layout": "long", "locator": "a", "rssi_dbm": "c", "receiver_id": "d"},
            "needs sample_id",
        ),
        (
            {"layout": "wide", "locator": "a",
             "receivers": {"b": {"receiver_id": "r"}, "c": {"receiver_id": "r"}}},
            "same quantity of the same receiver",
        ),
    ],
)  # fmt: skip
def test_incomplete_mapping_is_refused(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableMapping.model_validate(mapping)


def test_three_tables_are_previewed_with_all_errors(send: Send, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "upload", "w") as pack:
        pack.writestr("receivers.csv", "receiver_id,lat,lon,alt_m\nhill,95,7,\ntown,45,7,\n")
        pack.writestr("samples.csv", "sample_id,lat,lon\na,45,7\nb,45,x\n")
        pack.writestr(
            "measurements.csv", "sample_id,receiver_id,rssi_dbm\na,hill,-80\nb,town,-80\na,sea,-1\n"
        )
    found = preview(Upload(tmp_path / "upload", "data.zip"))
    assert [(error.file, error.line) for error in found.errors] == [
        ("receivers.csv", 2), ("samples.csv", 3), ("measurements.csv", 4),
    ]  # fmt: skip
    assert found.mapping is None


def test_missing_columns_of_several_tables_are_all_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "upload", "w") as pack:
        pack.writestr("receivers.csv", "receiver_id,lat\nhill,45\n")
        pack.writestr("samples.csv", "sample_id,lat,lon\na,45,7\n")
        pack.writestr("measurements.csv", "sample_id,rssi_dbm\na,-80\n")
    found = preview(Upload(tmp_path / "upload", "data.zip"))
    assert [error.reason for error in found.errors] == [
        "column 'lon' is missing", "column 'receiver_id' is missing",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfea,b\n\x00", "is not text in UTF-16"),
        (b"lat,lon,hill\n45,7," + b"8" * 200_000, "is not a valid CSV table"),
        (b"lat,lon,hill\n" + b"45,7,-80\n" * 50 + b"45,7," + b"8" * 200_000, "not a valid CSV"),
    ],
    ids=["half a character", "long field at the start", "long field"],
)
def test_unreadable_text_gets_an_error_message(send: Send, content: bytes, message: str) -> None:
    assert message in preview(send(content)).errors[0].reason


def test_truncated_workbook_gets_an_error_message(tmp_path: Path) -> None:
    write_workbook(tmp_path / "book.xlsx", {"Data": WIDE})
    with (
        zipfile.ZipFile(tmp_path / "book.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "cut.xlsx", "w") as cut,
    ):
        for name in whole.namelist():
            data = whole.read(name)
            cut.writestr(name, data[: len(data) // 2] if "sheet1" in name else data)
    found = preview(Upload(tmp_path / "cut.xlsx", "cut.xlsx"))
    assert "cut.xlsx cannot be read as a workbook" in found.errors[0].reason


@pytest.mark.parametrize(
    ("is_nested", "before"),
    [(False, b""), (True, b""), (True, b"bytes before the first member")],
    ids=["alone", "in a zip", "in a zip, with bytes before it"],
)
def test_workbook_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, is_nested: bool, before: bytes
) -> None:
    path = tmp_path / "book.xlsx"
    write_workbook(path, {"Data": WIDE})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("xl/media/picture.png", bytes(RATIO_CHECK_MIN_BYTES + 1))
    if is_nested:
        with zipfile.ZipFile(tmp_path / "upload.zip", "w") as pack:
            pack.writestr("book.xlsx", before + path.read_bytes())
        path = tmp_path / "upload.zip"
    with pytest.raises(DatasetImportError, match="more than 200 times its compressed size"):
        importer.read_upload(Upload(path, path.name), empty_folder(Upload(path, "")), 10**9)


def test_lines_are_counted_from_the_first_line_of_the_file(send: Send) -> None:
    text = to_text(WIDE, ";").replace("45.03;", "north;")
    plain, with_separator = (preview(send(head + text)) for head in ("", "sep=;\n"))
    assert [error.line for error in plain.errors] == [5]
    assert [error.line for error in with_separator.errors] == [6]


@pytest.mark.parametrize("text", ["1_00", "inf", "1e999"])
def test_only_numbers_of_the_import_format_are_numbers(send: Send, text: str) -> None:
    cells = [list(row) for row in WIDE]
    cells[1][3] = text
    found = preview(send(to_text(cells)))
    assert found.mapping is not None
    assert found.mapping["not_heard"] == [100.0]
    assert [error.line for error in found.errors] == [2]


@pytest.mark.parametrize(
    "values", [{"not_heard": [float("inf")]}, {"origin": [91, 0]}, {"origin": [0, 181]}]
)
def test_mapping_with_impossible_numbers_is_refused(values: dict[str, object]) -> None:
    receivers = {"hill": {"receiver_id": "hill"}}
    with pytest.raises(ValueError, match=next(iter(values))):
        TableMapping.model_validate(
            {"layout": "wide", "x_m": "x", "y_m": "y", "receivers": receivers, **values}
        )


@pytest.mark.parametrize(
    ("receiver", "reason"),
    [
        ({"x_m": 1}, "give both x_m and y_m, or neither"),
        ({"x_m": 1, "y_m": 1, "lat": 45, "lon": 7}, "give lat and lon, or x_m and y_m"),
        ({"x_m": 1, "y_m": 1}, "receivers in meters need samples in meters or UTM coordinates"),
    ],
)
def test_position_of_a_receiver_has_the_system_of_the_samples(
    receiver: dict[str, object], reason: str
) -> None:
    receivers = {"hill": {"receiver_id": "hill", **receiver}}
    with pytest.raises(ValueError, match=reason):
        TableMapping.model_validate(
            {"layout": "wide", "lat": "a", "lon": "b", "receivers": receivers}
        )
