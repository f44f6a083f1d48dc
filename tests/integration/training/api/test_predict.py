"""What of a prediction's request reaches the model; the inference process is not started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from training.api import predictions
from training.inference.client import InferenceClient
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, TrainedModel
from training.programs.messages import InferenceRequest, InferenceResponse, PredictRequest

START = 1_764_124_800_123_456_789


class Recorder(InferenceClient):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Any] = []
        self.response = InferenceResponse()

    def _exchange(self, request: InferenceRequest, seconds: float) -> InferenceResponse | None:
        assert isinstance(request, PredictRequest)
        self.rows = request.measurements
        return self.response


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


def test_arrivals_since_1970_lose_no_digit(api: APIClient, url: str, recorder: Recorder) -> None:
    times = [f"{START + 7}", f"{START}", f"{START}.25"]
    rows = ", ".join(f'{{"receiver_id": "r{i}", "toa_ns": {t}}}' for i, t in enumerate(times))
    assert predict(api, url, f'{{"measurements": [{rows}]}}').status_code == 200
    assert [row["toa_ns"] for row in recorder.rows] == [7.0, 0.0, 0.25]


def test_200_000_rows_are_accepted_as_promised(
    api: APIClient, url: str, recorder: Recorder
) -> None:
    rows = [
        {"sample_id": f"s{i // 4}", "receiver_id": f"r{i % 4}", "rssi_dbm": -80.25, "toa_ns": i}
        for i in range(200_000)
    ]
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
def test_value_that_cannot_be_measured_names_its_field(
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


def test_refusal_does_not_tell_where_the_data_folder_is(
    api: APIClient, url: str, recorder: Recorder, settings: Any
) -> None:
    settings.DATA_DIR = Path("/srv/secret place")
    recorder.response = InferenceResponse(error=f"{settings.DATA_DIR}/jobs/x/model is damaged.")
    answer = predict(api, url, {"measurements": [{"receiver_id": "r", "rssi_dbm": -80}]})
    assert answer.json()["errors"] == {"": ["jobs/x/model is damaged."]}


def test_of_many_invalid_rows_the_first_is_named(
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
