from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from training.localization.config import ImportConfig
from training.localization.data import splits
from training.localization.evaluation import dataset_summary
from training.localization.importing import limits
from training.localization.importing.importer import read_folder, read_upload
from training.programs.datasets import DatasetImportError, InvalidRowError, Upload

RECEIVERS = "receiver_id,lat,lon,alt_m\nhill,45.0,7.5,300\ntown,45.1,7.6,\nbus,,,\n"
SAMPLES = "sample_id,lat,lon,split\na,45.02,7.52,train\nb,45.03,7.55,val\nc,45.05,7.58,test\n"
MEASUREMENTS = (
    "sample_id,receiver_id,rssi_dbm,snr_db,toa_ns,rx_lat,rx_lon\n"
    "a,hill,-80,12,1700000000000000100,,\n"
    "a,bus,-70,,1700000000000000350,45.04,7.5\n"
    "b,town,-90.5,,,,\n"
    "c,hill,,3,,,\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "receivers.csv").write_text(RECEIVERS)
    (tmp_path / "samples.csv").write_text(SAMPLES)
    (tmp_path / "measurements.csv").write_text(MEASUREMENTS)
    return tmp_path


def test_folder_is_read_into_arrays(folder: Path) -> None:
    dataset = read_folder(folder)
    assert [receiver.id for receiver in dataset.receivers] == ["hill", "town", "bus"]
    assert dataset_summary.summarize(dataset)["split"] == {"train": 1, "val": 1, "test": 1}
    assert dataset.rssi[0] == pytest.approx([-80, np.nan, -70], nan_ok=True)
    assert dataset.snr[2, 0] == 3


def test_ground_is_at_the_altitude_of_the_median_receiver(folder: Path) -> None:
    rows = "hill,45.0,7.5,1500\ntown,45.1,7.6,1400\nmast,45.1,7.5,1410\nbus,,,\n"
    (folder / "receivers.csv").write_text(f"receiver_id,lat,lon,alt_m\n{rows}")
    dataset = read_folder(folder)
    assert dataset.frame.alt0 == 1410
    assert dataset.rx[0, :, 2] == pytest.approx([90, -10, 0, np.nan], nan_ok=True)


def test_arrival_times_since_1970_keep_nanoseconds(folder: Path) -> None:
    assert read_folder(folder).toa[0] == pytest.approx([0, np.nan, 250], nan_ok=True)


def test_fixed_receiver_without_a_row_was_silent_and_a_mobile_one_is_unknown(
    folder: Path,
) -> None:
    dataset = read_folder(folder)
    assert dataset.in_service.tolist() == [
        [True, True, True],
        [True, True, False],
        [True, True, False],
    ]
    assert not np.isnan(dataset.rx[0, 2, 0])
    assert np.isnan(dataset.rx[1, 2, 0])


def test_gzipped_table_gives_the_same_dataset(folder: Path) -> None:
    before = read_folder(folder).content_hash
    plain = folder / "measurements.csv"
    (folder / "measurements.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read_folder(folder).content_hash == before


def test_zip_of_the_folder_gives_the_same_dataset(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        for table in folder.glob("*.csv"):
            pack.write(table, f"measured/{table.name}")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    imported = read_upload(Upload(archive, "data.zip"), workspace, max_bytes=10_000)
    assert imported.content_hash == read_folder(folder).content_hash


@pytest.mark.parametrize(
    ("table", "line", "row", "reason"),
    [
        ("measurements.csv", 2, "a,hill,abc,,,,", "rssi_dbm 'abc' is not a number"),
        ("measurements.csv", 2, "a,hill,nan,,,,", "rssi_dbm 'nan' is not a finite number"),
        ("measurements.csv", 3, "b,hill,,,,,", "the row has no measurement"),
        ("measurements.csv", 3, "z,hill,-80,,,,", "sample_id 'z' is not in samples.csv"),
        ("measurements.csv", 3, "a,mast,-80,,,,", "receiver_id 'mast' is not in receivers.csv"),
        ("measurements.csv", 3, "a,hill,-80,,,,", "receiver 'hill' is repeated for sample 'a'"),
        ("measurements.csv", 3, "a,hill,-80", "3 fields, but the header has 7 columns"),
        ("samples.csv", 3, "a,45.0,7.5,val", "sample_id 'a' is repeated"),
        ("samples.csv", 3, "b,95,7.5,val", "lat 95 is not between -90 and 90 degrees"),
        ("samples.csv", 3, "b,,,val", "lat and lon are empty; a sample needs its true position"),
        ("samples.csv", 3, "b,45,7.5,dev", "split 'dev' is not one of train, val, test"),
        ("receivers.csv", 3, "hill,45,7,1", "receiver_id 'hill' is repeated"),
        ("receivers.csv", 3, "mast,45,,1", "give both lat and lon, or neither"),
    ],
)
def test_invalid_row_is_an_error_with_file_line_and_reason(
    folder: Path, table: str, line: int, row: str, reason: str
) -> None:
    lines = (folder / table).read_text().splitlines()
    lines[line - 1] = row
    (folder / table).write_text("\n".join(lines))
    with pytest.raises(InvalidRowError) as refused:
        read_folder(folder)
    assert (refused.value.file, refused.value.line) == (table, line)
    assert refused.value.reason.startswith(reason)
    assert str(refused.value) == f"{table} line {line}: {refused.value.reason}"


def test_missing_table_is_named(folder: Path) -> None:
    (folder / "samples.csv").unlink()
    with pytest.raises(DatasetImportError, match=r"samples\.csv is missing"):
        read_folder(folder)


def test_swapped_coordinates_are_an_error(folder: Path) -> None:
    swapped = RECEIVERS.replace("45.0,7.5", "7.5,45.0")
    (folder / "receivers.csv").write_text(swapped)
    with pytest.raises(DatasetImportError, match="Are lat and lon swapped"):
        read_folder(folder)


def test_samples_of_a_group_are_in_one_split(folder: Path) -> None:
    rows = [f"s{i},45.0{i % 10},7.5{i % 7},{i // 5}" for i in range(50)]
    (folder / "samples.csv").write_text("\n".join(["sample_id,lat,lon,group", *rows]))
    heard = [f"s{i},hill,-{60 + i}" for i in range(50)]
    (folder / "measurements.csv").write_text("\n".join(["sample_id,receiver_id,rssi_dbm", *heard]))
    dataset = read_folder(folder)
    for group in np.unique(dataset.group):
        assert len(np.unique(dataset.split[dataset.group == group])) == 1
    assert all(len(dataset.rows(side)) for side in ("train", "val", "test"))


def test_zip_that_unpacks_to_too_much_is_rejected(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("samples.csv", "0" * 1_000_000)
    with pytest.raises(
        DatasetImportError, match=r"decompresses to 1,000,000 bytes; the limit is 1,000"
    ):
        read_upload(Upload(archive, "data.zip"), tmp_path, max_bytes=1_000)


@pytest.mark.parametrize("name", ["../samples.csv", "/etc/samples.csv", "C:/samples.csv"])
def test_zip_with_paths_outside_the_folder_is_rejected(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr(name, "x")
    with pytest.raises(DatasetImportError, match="contains a path outside itself"):
        read_upload(Upload(archive, "data.zip"), tmp_path, max_bytes=1_000)


@pytest.mark.parametrize("row", ["a,hill,loud,,,,", "a,hill,-80"], ids=["value", "fields"])
def test_table_with_an_invalid_row_is_closed(folder: Path, row: str) -> None:
    with (folder / "measurements.csv").open("a") as table:
        table.write(row)
    with pytest.raises(InvalidRowError):
        read_folder(folder)
    held = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert folder / "measurements.csv" not in held


def test_position_of_a_receiver_may_be_unknown(folder: Path) -> None:
    rows = MEASUREMENTS.replace("45.04,7.5", ",")
    (folder / "measurements.csv").write_text(rows)
    dataset = read_folder(folder)
    assert np.isnan(dataset.rx[:, 2]).all()
    assert dataset.in_service[:, 2].all()


def with_days(folder: Path) -> None:
    rows = [f"s{i},45.0{i % 10},7.5{i % 7},train,day{i // 5}" for i in range(50)]
    (folder / "samples.csv").write_text("\n".join(["sample_id,lat,lon,split,day", *rows]))
    heard = [f"s{i},hill,-{60 + i}" for i in range(50)]
    (folder / "measurements.csv").write_text("\n".join(["sample_id,receiver_id,rssi_dbm", *heard]))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"split_by": "column", "split_column": "day"}, "by day: samples of one day"),
        ({"split_by": "place"}, "by place: whole squares"),
        ({"split_by": "random"}, "at random: neighbours leak"),
    ],
)
def test_split_follows_the_config(folder: Path, config: dict[str, str], words: str) -> None:
    with_days(folder)
    dataset = read_folder(folder, config=ImportConfig.model_validate(config))
    assert dataset.split_by.startswith(words)
    assert dataset_summary.summarize(dataset)["leaks"] == (config["split_by"] == "random")
    for group in np.unique(dataset.group):
        assert len(np.unique(dataset.split[dataset.group == group])) == 1


def test_missing_split_column_is_named(folder: Path) -> None:
    with_days(folder)
    config = ImportConfig(split_by="column", split_column="session")
    with pytest.raises(DatasetImportError, match="has no column 'session' to split by"):
        read_folder(folder, config=config)


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("receivers.csv", "receiver_id,lat,lon,alt_m\n", "receivers.csv has no rows"),
        ("samples.csv", "sample_id,lat,lon\n", "samples.csv has no rows"),
        (
            "receivers.csv",
            "receiver_id,lat,lon,alt_m\nbus,,,300\n",
            "receivers.csv line 2: alt_m without lat and lon; leave all three empty if it moves",
        ),
        (
            "samples.csv",
            "sample_id,lat,lon,split\na,45.02,7.52,train\nb,45.03,7.55,val\nc,45,7.5,val\n",
            "samples.csv: no samples for 'test'; each of train, val, test needs some",
        ),
        (
            "samples.csv",
            "sample_id,lat,lon,group\na,45.02,7.52,x\nb,45.03,7.55,x\nc,45,7.5,y\n",
            (
                "samples.csv: no samples for 'val'; each of train, val, test needs some; give at "
                "least three groups, or a split column"
            ),
        ),
        (
            "samples.csv",
            "sample_id,lat,lon,split,group\na,45,7.5,train,x\nb,45,7.5,val,x\nc,45,7.5,test,y\n",
            "samples.csv line 3: group 'x' is in more than one split",
        ),
    ],
)
def test_table_that_cannot_be_used_is_an_error(
    folder: Path, table: str, content: str, message: str
) -> None:
    (folder / table).write_text(content)
    with pytest.raises(DatasetImportError) as refused:
        read_folder(folder)
    assert str(refused.value) == message


def test_frequency_offset_is_validated_although_it_is_not_used(folder: Path) -> None:
    header = "sample_id,receiver_id,rssi_dbm,frequency_offset_hz\n"
    (folder / "measurements.csv").write_text(f"{header}a,hill,-80,12\n")
    assert read_folder(folder).rssi[0, 0] == -80
    (folder / "measurements.csv").write_text(f"{header}a,hill,-80,high\n")
    with pytest.raises(InvalidRowError, match="frequency_offset_hz 'high' is not a number"):
        read_folder(folder)


def test_arrivals_are_relative_to_the_first_of_each_sample(folder: Path) -> None:
    (folder / "measurements.csv").write_text(
        "sample_id,receiver_id,toa_ns\na,hill,500\na,town,200\nb,hill,900.5\n"
    )
    toa = read_folder(folder).toa
    assert toa[0] == pytest.approx([300, 0, np.nan], nan_ok=True)
    assert toa[1] == pytest.approx([0, np.nan, np.nan], nan_ok=True)


def test_file_without_split_and_group_is_split_by_square(folder: Path) -> None:
    rows = [f"s{i},{45 + i % 10 / 100},{7.5 + i // 10 / 100}" for i in range(100)]
    (folder / "samples.csv").write_text("\n".join(["sample_id,lat,lon", *rows]))
    (folder / "measurements.csv").write_text("sample_id,receiver_id,rssi_dbm\ns0,hill,-80\n")
    dataset = read_folder(folder)
    assert dataset.split_by == splits.BY_PLACE
    for square in np.unique(dataset.group):
        assert len(np.unique(dataset.split[dataset.group == square])) == 1


def test_dataset_without_any_measurement_is_an_error(folder: Path) -> None:
    (folder / "measurements.csv").write_text("sample_id,receiver_id,rssi_dbm\n")
    with pytest.raises(
        DatasetImportError, match=r"measurements\.csv has no rows; nothing was heard"
    ):
        read_folder(folder)


def test_dataset_without_a_measurement_to_learn_from_is_an_error(folder: Path) -> None:
    (folder / "measurements.csv").write_text("sample_id,receiver_id,rssi_dbm\nb,hill,-80\n")
    with pytest.raises(DatasetImportError, match="no row for a sample of the training split"):
        read_folder(folder)


def write_sparse(folder: Path, samples: int, receivers: int) -> None:
    """As many samples and receivers, and a single measurement."""
    rows = [f"r{i},45.0,7.5,0" for i in range(receivers)]
    (folder / "receivers.csv").write_text("\n".join(["receiver_id,lat,lon,alt_m", *rows]))
    rows = [f"s{i},45.0,7.5" for i in range(samples)]
    (folder / "samples.csv").write_text("\n".join(["sample_id,lat,lon", *rows]))
    (folder / "measurements.csv").write_text("sample_id,receiver_id,rssi_dbm\ns0,r0,-80\n")


def test_receivers_are_counted_while_they_are_read(folder: Path) -> None:
    write_sparse(folder, 3, limits.MAX_RECEIVERS + 5)
    with pytest.raises(InvalidRowError, match="line 1002: more than 1,000 receivers"):
        read_folder(folder)


def test_samples_times_receivers_are_bounded_while_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CELLS", 1000)
    write_sparse(folder, 200, 10)
    message = "line 102: 101 samples x 10 receivers are more than the limit of 1,000"
    with pytest.raises(InvalidRowError, match=message):
        read_folder(folder)


def test_samples_are_bounded_even_with_a_single_receiver(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SAMPLES", 100)
    write_sparse(folder, 200, 1)
    with pytest.raises(InvalidRowError, match="line 102: more than 100 samples; import fewer"):
        read_folder(folder)


def test_long_sample_ids_are_bounded_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ID_BYTES", 100)
    write_sparse(folder, 200, 1)
    with pytest.raises(InvalidRowError, match="the sample IDs have more than 100 bytes"):
        read_folder(folder)


def test_arrival_times_of_no_common_clock_are_an_error(folder: Path) -> None:
    rows = "a,hill,1700000000000000000\na,town,5\n"
    (folder / "measurements.csv").write_text(f"sample_id,receiver_id,toa_ns\n{rows}")
    message = "measurements.csv: the toa_ns of sample 'a' are 1.7e\\+18 ns apart, at most"
    with pytest.raises(DatasetImportError, match=message):
        read_folder(folder)


def test_arrival_times_with_fractions_of_a_nanosecond_are_exact(folder: Path) -> None:
    rows = "a,hill,1700000000000000000.25\na,town,1700000000000000000.75\n"
    (folder / "measurements.csv").write_text(f"sample_id,receiver_id,toa_ns\n{rows}")
    assert read_folder(folder).toa[0] == pytest.approx([0, 0.5, np.nan], nan_ok=True)


def test_both_spellings_of_an_id_are_equivalent(folder: Path) -> None:
    (folder / "receivers.csv").write_text("receiver_id,lat,lon,alt_m\nM\u00fcnchen,45,7.5,0\n")
    (folder / "measurements.csv").write_text(
        "sample_id,receiver_id,rssi_dbm\na,Mu\u0308nchen,-80\n"
    )
    assert read_folder(folder).rssi[0, 0] == -80


def test_semicolons_and_decimal_commas_give_the_same_dataset(folder: Path) -> None:
    before = read_folder(folder).content_hash
    for table in folder.glob("*.csv"):
        text = table.read_text().replace(",", ";").replace(".", ",")
        (folder / table.name.capitalize()).write_text(text)
        table.unlink()
    assert read_folder(folder).content_hash == before
