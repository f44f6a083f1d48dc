"""The part of a prediction request that reaches the model, without an inference process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from training.api import predictions
from training.inference.client import InferenceClient, Results
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, TrainedModel
from training.programs import messages
from training.programs.messages import InferenceRequest, InferenceResponse, PredictRequest

START = 1_764_124_800_123_456_789


class Recorder(InferenceClient):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Any] = []
        self.blocks = list[bytes]()
        self.response = InferenceResponse()

    def _exchange(self, request: InferenceRequest, seconds: float) -> Results | None:
        assert isinstance(request, PredictRequest)
        self.rows = request.measurements
        return Results(self.blocks, self.response)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(predictions, "inference_client", lambda: recorder)
    return recorder


@pytest.fixture
def url(ada: User, dataset: Dataset, tmp_path: Path) -> str:
    job = lifecycle.submit(ada, dataset, TrainConfig(), "First")
    (tmp_path / "model.safetensors").write_bytes(b"")
    model = TrainedModel.objects.create(
        job=job, checkpoint_path=str(tmp_path / "best.safetensors"), evaluation={"test": {}}
    )
    return f"/api/v1/training/models/{model.pk}/predict"


def predict(api: APIClient, url: str, body: str | dict[str, Any]) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return api.post(url, text, content_type="application/json")


def test_arrival_times_since_1970_keep_every_digit(
    api: APIClient, url: str, recorder: Recorder
) -> None:
    times = [f"{START + 7}", f"{START}", f"{START}.25"]
    rows = ", ".join(f'{{"receiver_id": "r{i}", "toa_ns": {t}}}' for i, t in enumerate(times))
    assert predict(api, url, f'{{"measurements": [{rows}]}}').status_code == 200
    assert [row["toa_ns"] for row in recorder.rows] == [7.0, 0.0, 0.25]


def test_200_000_rows_are_accepted(api: APIClient, url: str, recorder: Recorder) -> None:
    rows = [
        {
            "sample_id": f"sample-{i // 4}", "receiver_id": f"receiver-{i % 4}",
            "rssi_dbm": -80.25, "snr_db": 12.75, "toa_ns": START + i % 4,
        }
        for i in range(200_000)
    ]  # fmt: skip
    assert predict(api, url, {"measurements": rows}).status_code == 200
    assert len(recorder.rows) == 200_000
    refused = predict(api, url, {"measurements": [*rows, rows[0]]})
    assert refused.status_code == 400
    assert refused.json()["errors"]["measurements"] == ["Too many items; at most 200000 allowed."]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ('"rssi_dbm": 1e39', "measurements.0.rssi_dbm"),
        ('"rssi_dbm": 100', "measurements.0.rssi_dbm"),
        ('"rssi_dbm": 1e999', "measurements.0.rssi_dbm"),
        ('"snr_db": -1e4', "measurements.0.snr_db"),
        ('"toa_ns": 1e300', "measurements.0.toa_ns"),
        ('"toa_ns": 1' + "0" * 3000, "measurements.0.toa_ns"),
        ('"rssi_dbm": -80, "rx_lat": 45, "rx_lon": 7, "rx_alt_m": 1e9', "measurements.0.rx_alt_m"),
        ('"rssi_dbm": -80, "sample_id": "a\\u0000"', "measurements.0.sample_id"),
        ('"toa_ns": 0}, {"receiver_id": "s", "toa_ns": 1e10', "measurements"),
    ],
)
def test_error_for_an_implausible_value_names_its_field(
    api: APIClient, url: str, recorder: Recorder, row: str, field: str
) -> None:
    answer = predict(api, url, f'{{"measurements": [{{"receiver_id": "r", {row}}}]}}')
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert recorder.rows == []


def test_ids_are_normalized_as_those_of_an_import(
    api: APIClient, url: str, recorder: Recorder
) -> None:
    body = {"measurements": [{"receiver_id": "Mu\u0308nchen ", "rssi_dbm": -80}]}
    assert predict(api, url, body).status_code == 200
    assert recorder.rows[0]["receiver_id"] == "M\u00fcnchen"


def test_error_does_not_reveal_the_path_of_the_data_folder(
    api: APIClient, url: str, recorder: Recorder, settings: Any
) -> None:
    settings.DATA_DIR = Path("/srv/secret place")
    recorder.response = InferenceResponse(error=f"{settings.DATA_DIR}/jobs/x/model is damaged.")
    answer = predict(api, url, {"measurements": [{"receiver_id": "r", "rssi_dbm": -80}]})
    assert answer.json()["errors"] == {"": ["jobs/x/model is damaged."]}


def test_error_for_many_invalid_rows_names_the_first(
    api: APIClient, url: str, recorder: Recorder
) -> None:
    answer = predict(api, url, {"measurements": [{}] * 2000})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["measurements.0.receiver_id"]


def test_body_of_many_values_is_refused_before_it_is_parsed(
    api: APIClient, url: str, recorder: Recorder
) -> None:
    answer = predict(api, url, '{"measurements": [' + "[]," * 1_100_000 + "[]]}")
    assert answer.status_code == 413
    assert "more than 2,000,000 JSON values" in answer.json()["detail"]


FOUND: dict[str, Any] = {
    "sample_id": "one", "lat": 45.0, "lon": 7.5, "covariance_m2": [[1.0, 0.0], [0.0, 1.0]],
    "ellipse_68": {"semi_major_m": 50.0, "semi_minor_m": 20.0, "azimuth_deg": 0.0},
    "ellipse_95": {"semi_major_m": 90.0, "semi_minor_m": 40.0, "azimuth_deg": 0.0},
    "locator": "JN35sa00", "receivers": ["r"],
}  # fmt: skip
BODY = {"measurements": [{"receiver_id": "r", "rssi_dbm": -80}]}


@pytest.mark.parametrize(
    ("name", "media_type", "start"),
    [
        ("csv", "text/csv", "sample_id,lat,lon,locator,"),
        ("geojson", "application/geo+json", '{"type":"FeatureCollection"'),
        ("gpx", "application/gpx+xml", "<?xml"),
        ("kml", "application/vnd.google-earth.kml+xml", "<?xml"),
    ],
)
def test_positions_are_returned_in_the_requested_format(
    api: APIClient, url: str, recorder: Recorder, name: str, media_type: str, start: str
) -> None:
    other = {**FOUND, "sample_id": "two"}
    recorder.blocks = [messages.encode_block([FOUND, FOUND]), messages.encode_block([other])]
    recorder.response = InferenceResponse(results=3)
    by_format = api.post(f"{url}?format={name}", BODY, format="json")
    by_header = api.post(url, BODY, format="json", HTTP_ACCEPT=f"{media_type}, */*;q=0.1")
    answers: tuple[Any, ...] = (by_format, by_header)
    texts = [b"".join(answer.streaming_content).decode() for answer in answers]
    assert texts[0] == texts[1]
    assert texts[0].startswith(start)
    for answer in (by_format, by_header):
        assert answer.headers["Content-Type"].partition(";")[0] == media_type
        assert f'filename="positions.{name}"' in answer.headers["Content-Disposition"]
    plain = api.post(url, BODY, format="json").json()
    assert plain == {"predictions": [FOUND, FOUND, other]}


def test_unknown_format_names_the_known_ones(api: APIClient, url: str, recorder: Recorder) -> None:
    answer = api.post(f"{url}?format=shp", BODY, format="json")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"]["format"] == [
        "'shp' is not one of json, csv, geojson, gpx, kml."
    ]
    assert recorder.rows == []


def test_error_is_a_problem_for_any_requested_format(api: APIClient, url: str) -> None:
    answer = api.post(f"{url}?format=gpx", {"measurements": []}, format="json")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "measurements" in answer.json()["errors"]
