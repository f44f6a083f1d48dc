"""Imports through the API: in a separate process, with bounded results."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from training.datasets import import_process
from training.models import Dataset

URL = "/api/v1/training/datasets/import"
TABLES = {
    "receivers.csv": "receiver_id,lat,lon,alt_m\nhill,45.0,7.5,300\ntown,45.1,7.6,250\n",
    "samples.csv": "sample_id,lat,lon,split\na,45.02,7.52,train\nb,45.03,7.55,val\nc,45,7.5,test\n",
    "measurements.csv": "sample_id,receiver_id,rssi_dbm\na,hill,-80\nb,hill,-70\nc,town,-75\n",
}
Upload = Callable[..., Any]


def pack(tables: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in tables.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def upload(api: Client, settings: Any, tmp_path: Path) -> Upload:
    settings.DATA_DIR = tmp_path

    def send(changed: dict[str, str | bytes], name: str = "Lab") -> Any:
        file = SimpleUploadedFile("a.zip", pack({**TABLES, **changed}))
        return api.post(URL, {"name": name, "file": file})

    return send


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in (folder / "datasets").glob("import-*")]


def sparse(count: int) -> dict[str, str | bytes]:
    places = [f"{48 + i % 97 * 1e-3:.5f},{11 + i % 89 * 1e-3:.5f}" for i in range(count)]
    return {
        "receivers.csv": "receiver_id,lat,lon,alt_m\n"
        + "".join(f"r{i},{place},0\n" for i, place in enumerate(places)),
        "samples.csv": "sample_id,lat,lon\n"
        + "".join(f"s{i},{place}\n" for i, place in enumerate(places)),
        "measurements.csv": "sample_id,receiver_id,rssi_dbm\n"
        + "".join(f"s{i},r{i},-80\n" for i in range(count)),
    }


def test_import_leaves_only_the_dataset_file(upload: Upload, tmp_path: Path) -> None:
    response = upload({})
    assert response.status_code == 201
    assert response.json()["samples"] == 3
    assert Path(Dataset.objects.get().path).exists()
    assert leftovers(tmp_path) == []


def test_small_zip_of_a_large_dataset_is_rejected_before_anything_is_created(
    upload: Upload, tmp_path: Path
) -> None:
    before = psutil.Process().memory_info().rss
    response = upload(sparse(6000))
    assert response.status_code == 400
    assert response.json()["file"] == "receivers.csv"
    assert "more than 1,000 receivers" in response.json()["detail"]
    assert psutil.Process().memory_info().rss - before < 50 * 1024**2
    assert leftovers(tmp_path) == []
    assert not Dataset.objects.exists()


def test_import_that_needs_too_much_memory_is_an_error_of_the_file(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_process, "MEMORY_BYTES", 100 * 1024**2)
    response = upload({})
    assert response.status_code == 400
    assert "of memory; import fewer samples" in response.json()["errors"]["file"][0]


def test_import_that_takes_too_long_is_terminated(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_process, "MAX_SECONDS", 0.0)
    response = upload({})
    assert response.status_code == 400
    assert "The import took longer than 0 s" in response.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"receivers.csv": TABLES["receivers.csv"].upper()},
        {name: text.replace(",", ";").replace(".", ",") for name, text in TABLES.items()},
        {"measurements.csv": TABLES["measurements.csv"] + ",,\n,,\n"},
        {"samples.csv": b"\xef\xbb\xbf" + TABLES["samples.csv"].replace("\n", "\r\n").encode()},
    ],
    ids=["upper case", "semicolons", "empty rows", "byte order mark"],
)
def test_tables_of_excel_are_imported(upload: Upload, change: dict[str, str | bytes]) -> None:
    if "receivers.csv" in change and len(change) == 1:
        change = {"receivers.csv": TABLES["receivers.csv"].replace("receiver_id", "RECEIVER_ID")}
    response = upload(change)
    assert response.status_code == 201, response.json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measurements.csv": "sample_id,receiver_id,rssi_dbm\n"}, "measurements.csv has no rows"),
        (
            {"measurements.csv": "sample_id,receiver_id,rssi_dbm\na,hill,1e39\n"},
            "measurements.csv line 2: rssi_dbm 1e+39 is not between -199 and 60 dBm",
        ),
        (
            {"receivers.csv": "receiver_id,lat,lon,alt_m\nM\xfcnchen,45,7,0\n".encode("cp1252")},
            "receivers.csv is not UTF-8 text: invalid start byte (0xFC). Excel and Windows",
        ),
        ({"receivers.csv": "receiver_id,lat,lon,alt_m\na\0b,45,7,0\n"}, "control character U+0000"),
    ],
)
def test_unusable_tables_are_rejected_with_cause_and_fix(
    upload: Upload, change: dict[str, str | bytes], message: str
) -> None:
    response = upload(change)
    assert response.status_code == 400
    assert message in response.json()["detail"]
    assert not Dataset.objects.exists()


TABLE = "latitude,longitude,hill,town\n" + "".join(
    f"{45 + n / 100},{7.5 + n / 50},{-80 - n},{-70 - n}\n" for n in range(30)
)


def send_table(api: Client, content: str = TABLE, query: str = "", **fields: str) -> Any:
    file = SimpleUploadedFile("table.csv", content.encode())
    return api.post(f"{URL}{query}", {"file": file, **fields})


@pytest.fixture
def data_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.mark.parametrize("dry_run", ["?dry_run=1", "?dry_run=true"])
def test_dry_run_guesses_the_mapping_that_imports_the_table(
    api: Client, data_folder: Path, dry_run: str
) -> None:
    answer = send_table(api, query=dry_run)
    found = answer.json()
    assert answer.status_code == 200, found
    assert found["errors"] == []
    assert found["dataset"]["samples"] == 30
    assert Dataset.objects.count() == 0
    assert not list(data_folder.rglob("*.safetensors"))
    assert leftovers(data_folder) == []

    imported = send_table(api, name="Mine", mapping=json.dumps(found["mapping"]))
    assert imported.status_code == 201, imported.json()
    assert [row["id"] for row in imported.json()["receivers"]] == ["hill", "town"]
    assert imported.json()["split"] == found["dataset"]["split"]


def test_dry_run_reports_every_error(api: Client, data_folder: Path) -> None:
    rows = TABLE.replace("45.03,", "95.03,").replace("45.05,", "x,")
    found = send_table(api, rows, "?dry_run=1").json()
    assert found["dataset"] is None
    assert found["mapping"]["lat"] == "latitude"
    assert [(error["file"], error["line"]) for error in found["errors"]] == [
        ("table.csv", 5), ("table.csv", 7),
    ]  # fmt: skip


def test_table_without_a_mapping_is_rejected(api: Client, data_folder: Path) -> None:
    answer = send_table(api, name="Mine")
    assert answer.status_code == 400
    assert "table.csv is a single table" in answer.json()["errors"]["file"][0]
    assert "dry_run=1" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"name": "M", "mapping": "{"}, "mapping", "not valid JSON"),
        ({"name": "M", "mapping": "[" * 5000}, "mapping", "nested too deeply"),
        ({"name": "M", "mapping": '{"layout": "tall"}'}, "mapping.layout", "'wide' or 'long'"),
        ({}, "name", "required"),
    ],
)
def test_invalid_form_names_the_field(
    api: Client, data_folder: Path, fields: dict[str, str], field: str, message: str
) -> None:
    answer = send_table(api, **fields)
    assert answer.status_code == 400
    assert message in answer.json()["errors"][field][0]


def test_invalid_dry_run_is_refused(api: Client, data_folder: Path) -> None:
    answer = send_table(api, query="?dry_run=maybe")
    assert answer.json()["errors"] == {"dry_run": ["'maybe' is not a boolean; use 1 or 0."]}


def test_dry_run_of_the_three_tables_has_no_mapping(upload: Upload, api: Client) -> None:
    file = SimpleUploadedFile("a.zip", pack(dict(TABLES)))
    found = api.post(f"{URL}?dry_run=1", {"file": file}).json()
    assert found["mapping"] is None
    assert found["dataset"]["samples"] == 3
    assert {column["table"] for column in found["columns"]} == set(TABLES)
