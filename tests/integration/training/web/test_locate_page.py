"""The page Locate without JavaScript, limited to receivers and signals of the model."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from tests.workbooks import write_workbook
from training.inference.client import Results
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, TrainedModel
from training.programs.messages import InferenceResponse, PredictRequest, encode_block
from training.web import locate_results
from training.web.locate_form import READINGS

PLACE: dict[str, Any] = {
    "sample_id": "", "lat": 45.1234567, "lon": 7.5, "covariance_m2": [[1.0, 0.0], [0.0, 1.0]],
    "ellipse_68": {"semi_major_m": 50.0, "semi_minor_m": 20.0, "azimuth_deg": 10.0},
    "ellipse_95": {"semi_major_m": 9000.0, "semi_minor_m": 40.0, "azimuth_deg": 10.0},
    "locator": "JN35sc", "receivers": ["Torino"],
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PredictRequest]:
    """The requests to the inference process, which is not started."""
    requests: list[PredictRequest] = []

    class Recorder:
        def request(self, request: PredictRequest, *_: Any) -> Results:
            requests.append(request)
            samples: dict[str, list[str]] = {}
            for row in request.measurements:
                samples.setdefault(row.get("sample_id", ""), []).append(row["receiver_id"])
            blocks = [
                encode_block([{**PLACE, "sample_id": sample, "receivers": heard}])
                for sample, heard in samples.items()
            ]
            return Results(blocks, InferenceResponse(results=len(blocks)))

    monkeypatch.setattr("training.api.predictions.inference_client", Recorder)
    return requests


@pytest.fixture
def model(ada: User, dataset: Dataset, tmp_path: Any) -> TrainedModel:
    (tmp_path / "model.safetensors").write_bytes(b"")
    dataset.facts = {**dataset.facts, "signals": ["rssi"]}
    dataset.save()
    job = lifecycle.submit(ada, dataset, TrainConfig(), "First")
    return TrainedModel.objects.create(
        job=job, evaluation={"test": {}}, checkpoint_path=str(tmp_path / "epoch-000001.safetensors")
    )


def test_positions_of_a_dataset_in_meters_are_shown_in_meters(
    page: Client, model: TrainedModel, asked: list[PredictRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLACE, "x_m", 12.5)
    monkeypatch.setitem(PLACE, "y_m", -3.25)
    answer = page.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": "-69", "rssi_dbm-2": "-80"})
    html = answer.content.decode()
    assert "x, y (m)" in html and "12.50, -3.25" in html
    assert "Latitude, longitude" not in html and "JN35sc" not in html


def test_readings_are_located_without_javascript(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    html = page.get(f"/models/{model.pk}/locate").content.decode()
    assert '<form method="post"' in html and 'id="locate"' in html
    answer = page.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": "-69,0", "rssi_dbm-2": "−80.5"})
    html = answer.content.decode()
    assert answer.status_code == 200
    assert "45.12346, 7.50000" in html
    assert "100 × 40.0 m" in html and "18,000 × 80.0 m" in html and "JN35sc" in html
    assert "Map of 1 estimated position and 7 receivers" in html
    assert 'value="-69,0"' in html
    assert [row["rssi_dbm"] for row in asked[0].measurements] == [-69.0, -80.5]


def test_ambiguous_reading_is_rejected_at_its_field(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    answer = page.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": "-69,125", "rssi_dbm-1": "x"})
    html = answer.content.decode()
    assert answer.status_code == 400
    assert "can mean -69.125 or -69125" in html
    assert "&#x27;x&#x27; is not a number." in html
    assert 'value="-69,125"' in html
    for text in ("nan", "inf", "1_0", "0x10", "1e9999"):
        page.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": text})
    assert asked == []


def test_empty_and_implausible_readings_get_an_error_message(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    answer = page.post(f"/models/{model.pk}/locate", {})
    assert answer.status_code == 400
    assert "Enter at least one reading." in answer.content.decode()
    answer = page.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": "690"})
    assert answer.status_code == 400
    html = answer.content.decode()
    assert 'value="690"' in html and 'aria-invalid="true"' in html
    assert "690" in html.split('role="alert"')[1]
    assert asked == []


def test_only_signals_of_the_training_are_offered_and_accepted(
    page: Client, api: APIClient, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    html = page.get(f"/models/{model.pk}/locate").content.decode()
    assert "RSSI (dBm)" in html
    assert "SNR (dB)" not in html and "Arrival time" not in html
    answer = api.post(
        f"/api/v1/training/models/{model.pk}/predict",
        {"measurements": [{"receiver_id": "Torino", "snr_db": 12.0}]},
        format="json",
    )
    assert answer.status_code == 400
    assert answer.json()["errors"] == {
        "measurements.0.snr_db": ["The model was not trained with snr_db; it uses rssi_dbm."]
    }
    assert asked == []


def test_readings_typed_in_an_expired_session_are_restored_after_sign_in(
    client: Client, model: TrainedModel
) -> None:
    html = client.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": "-69,0"}).content.decode()
    assert "what you typed is kept" in html


TABLE = "sample\tTorino\tAosta\na\t-80,5\t-90\nb\t-82\t\n"


def post(page: Client, model: TrainedModel, **fields: Any) -> tuple[int, str]:
    answer = page.post(f"/models/{model.pk}/locate", {"source": "table", **fields})
    return answer.status_code, answer.content.decode()


def test_pasted_table_is_answered_sample_by_sample(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    names = ids(model)
    text = TABLE.replace("Torino", names[0]).replace("Aosta", names[1])
    status, html = post(page, model, table=text, out_of_service=names[2])
    assert status == 200
    assert "2 positions" in html
    assert 'href="#map-0">a</a>' in html and 'href="#map-1">b</a>' in html
    assert f'value="{names[2]}" checked' in html
    assert "-80,5" in html.split("<textarea")[1]
    assert asked[0].out_of_service == [names[2]]
    rows = [
        (row["sample_id"], row["receiver_id"], row["rssi_dbm"]) for row in asked[0].measurements
    ]
    assert rows == [("a", names[0], -80.5), ("a", names[1], -90.0), ("b", names[0], -82.0)]


def ids(model: TrainedModel) -> list[str]:
    assert model.job.dataset is not None
    return [receiver["id"] for receiver in model.job.dataset.facts["receivers"]]


def test_workbook_is_returned_as_editable_text(
    page: Client, model: TrainedModel, asked: list[PredictRequest], tmp_path: Any
) -> None:
    names = ids(model)
    write_workbook(tmp_path / "book.xlsx", {"S": [["Sample", *names[:2]], ["a", -80, -90.5]]})
    with (tmp_path / "book.xlsx").open("rb") as file:
        status, html = post(page, model, file=file)
    assert status == 200
    assert f"Sample\t{names[0]}\t{names[1]}\na\t-80\t-90.5</textarea>" in html


def test_uploaded_file_takes_precedence_over_pasted_text_and_replaces_it(
    page: Client, model: TrainedModel, asked: list[PredictRequest], tmp_path: Any
) -> None:
    name = ids(model)[0]
    pasted = f"sample\t{name}\tother\nold\t-70\t\n"
    (tmp_path / "new.csv").write_text(f"sample,{name}\nnew,-80\n")
    with (tmp_path / "new.csv").open("rb") as file:
        status, html = post(page, model, table=pasted, file=file)
    assert status == 200
    assert [row["sample_id"] for row in asked[0].measurements] == ["new"]
    assert "new.csv was read; the text in the form was not used." in html
    assert f"sample\t{name}\nnew\t-80</textarea>" in html  # a download locates what is shown
    large = f"sample,{name}\n" + "".join(f"place {n},-80\n" for n in range(20_000))
    (tmp_path / "large.csv").write_text(large)
    with (tmp_path / "large.csv").open("rb") as file:
        status, html = post(page, model, table=pasted, file=file)
    assert status == 200
    assert "old\t-70" not in html


def test_readings_without_a_valid_position_get_an_error_message(
    page: Client, model: TrainedModel, asked: list[PredictRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLACE, "lat", None)
    monkeypatch.setitem(PLACE, "lon", None)
    answer = page.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": "-80"})
    assert answer.status_code == 400
    assert "found no valid position" in answer.content.decode()


def test_form_of_a_model_with_a_thousand_receivers_is_accepted(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    fields = {f"{signal}-{n}": "" for signal in READINGS for n in range(1000)}
    answer = page.post(f"/models/{model.pk}/locate", {**fields, "rssi_dbm-0": "-80"})
    assert answer.status_code == 200


def test_error_of_a_table_names_row_and_column_and_keeps_the_text(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    text = f"sample;{ids(model)[0]}\na;-80<b>\n"
    status, html = post(page, model, table=text)
    assert status == 400
    assert f"Row 2, column {ids(model)[0]}: rssi_dbm" in html
    assert "-80&lt;b&gt;" in html.split("<textarea")[1] and "-80<b>" not in html
    assert asked == []
    status, html = post(page, model, table="  ")
    assert (status, "Paste a table or choose a file." in html) == (400, True)


@pytest.mark.parametrize("name", ["csv", "geojson", "gpx", "kml"])
def test_download_has_all_positions(
    page: Client, model: TrainedModel, asked: list[PredictRequest], name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(locate_results, "MAX_SHOWN", 2)
    text = f"sample;{ids(model)[0]}\n" + "".join(f"place{n};-80\n" for n in range(5))
    _, html = post(page, model, table=text)
    assert "show the first 2 of 5 positions" in html
    assert html.count('id="answer-') == 2
    answer = page.post(f"/models/{model.pk}/locate", {"table": text, "download": f"table-{name}"})
    assert answer.status_code == 200
    assert f'filename="positions.{name}"' in answer.headers["Content-Disposition"]
    content = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert all(f"place{n}" in content for n in range(5))


def test_model_of_another_user_does_not_exist(
    client: Client, bob: User, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    client.force_login(bob)
    for answer in (
        client.get(f"/models/{model.pk}/locate"),
        client.post(f"/models/{model.pk}/locate", {"rssi_dbm-0": "-80"}),
        client.get(f"/locate?model={model.pk}"),
    ):
        assert answer.status_code == 404
    empty = client.get("/locate")
    assert empty.status_code == 200
    assert "You have no trained model of your receivers yet." in empty.content.decode()
    assert asked == []


def test_locate_redirects_to_the_newest_model_whose_file_exists(
    page: Client, model: TrainedModel, ada: User, dataset: Dataset, tmp_path: Any
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(), "Deleted")
    lost = TrainedModel.objects.create(
        job=job, evaluation={"test": {}}, checkpoint_path=str(tmp_path / "gone" / "a.safetensors")
    )
    answer = page.get("/locate")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/models/{model.pk}/locate")
    for unknown in ("x", "-" * 36, "0" * 32):
        assert page.get(f"/locate?model={unknown}").status_code == 404
    chosen = page.get(f"/locate?model={lost.pk}")
    assert chosen.headers["Location"] == f"/models/{lost.pk}/locate"
    html = page.get(f"/models/{model.pk}/locate").content.decode()
    assert "Change model" in html and ">Deleted</option>" in html
    post_lost = page.post(f"/models/{lost.pk}/locate", {"rssi_dbm-0": "-80"})
    assert post_lost.status_code == 400
    assert "file is missing" in post_lost.content.decode()


def test_pages_link_to_locate(page: Client, model: TrainedModel) -> None:
    link = f'href="/models/{model.pk}/locate"'
    for address in (f"/models/{model.pk}", f"/jobs/{model.job_id}", "/models"):
        assert link in page.get(address).content.decode(), address
    assert 'href="/locate"' in page.get("/jobs").content.decode()


def test_reading_beyond_the_prediction_limit_gets_an_error_message(
    page: Client, model: TrainedModel, asked: list[PredictRequest], settings: Any
) -> None:
    settings.USER_LIMITS = {**settings.USER_LIMITS, "imports": 0}
    status, html = post(page, model, table=TABLE)
    assert status == 400
    assert "imports under way" in html
    assert "-80,5" in html.split("<textarea")[1]
