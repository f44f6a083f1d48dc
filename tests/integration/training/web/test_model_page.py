"""The page of a model answers without JavaScript, and only what the model was trained for."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, TrainedModel
from training.programs.messages import InferenceResponse, PredictRequest

PLACE = {"lat": 45.1234567, "lon": 7.5, "ellipse_68": {"semi_major_m": 50.0, "semi_minor_m": 20.0},
         "ellipse_95": {"semi_major_m": 9000.0, "semi_minor_m": 40.0}}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PredictRequest]:
    """The requests to the inference process, which is not started."""
    requests: list[PredictRequest] = []

    class Recorder:
        def request(self, request: PredictRequest, *_: Any) -> list[dict[str, Any]]:
            requests.append(request)
            return InferenceResponse(results=[PLACE]).results

    monkeypatch.setattr("training.api.predictions.inference_client", Recorder)
    return requests


@pytest.fixture
def model(ada: User, dataset: Dataset, tmp_path: Any) -> TrainedModel:
    (tmp_path / "model.safetensors").write_bytes(b"")
    dataset.facts = {**dataset.facts, "signals": ["rssi"]}
    dataset.save()
    job = lifecycle.submit(ada, dataset, TrainConfig(), "First")
    return TrainedModel.objects.create(
        job=job, evaluation={}, checkpoint_path=str(tmp_path / "epoch-000001.safetensors")
    )


def test_readings_are_answered_without_javascript(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    html = page.get(f"/models/{model.pk}").content.decode()
    assert '<form class="stack" id="readings" method="post">' in html
    answer = page.post(f"/models/{model.pk}", {"rssi_dbm-0": "-69,0", "rssi_dbm-2": "−80.5"})
    html = answer.content.decode()
    assert answer.status_code == 200
    assert "45.12346, 7.50000" in html
    assert "68 % confidence ellipse 100 m × 40.0 m (95 %: 18.00 km × 80.0 m)" in html
    assert 'value="-69,0"' in html
    assert [row["rssi_dbm"] for row in asked[0].measurements] == [-69.0, -80.5]


def test_unclear_reading_is_refused_at_its_field(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    answer = page.post(f"/models/{model.pk}", {"rssi_dbm-0": "-69,125", "rssi_dbm-1": "x"})
    html = answer.content.decode()
    assert answer.status_code == 400
    assert "can mean -69.125 or -69125" in html
    assert "&#x27;x&#x27; is not a number." in html
    assert 'value="-69,125"' in html
    for text in ("nan", "inf", "1_0", "0x10", "1e9999"):
        page.post(f"/models/{model.pk}", {"rssi_dbm-0": text})
    assert asked == []


def test_empty_and_impossible_readings_get_a_sentence(
    page: Client, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    answer = page.post(f"/models/{model.pk}", {})
    assert answer.status_code == 400
    assert "Enter at least one reading." in answer.content.decode()
    answer = page.post(f"/models/{model.pk}", {"rssi_dbm-0": "690"})
    assert answer.status_code == 400
    html = answer.content.decode()
    assert 'value="690"' in html and 'aria-invalid="true"' in html
    assert "690" in html.split('role="alert"')[1]
    assert asked == []


def test_only_signals_of_the_training_are_offered_and_accepted(
    page: Client, api: APIClient, model: TrainedModel, asked: list[PredictRequest]
) -> None:
    html = page.get(f"/models/{model.pk}").content.decode()
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


def test_readings_of_an_ended_session_are_back_after_sign_in(
    client: Client, model: TrainedModel
) -> None:
    html = client.post(f"/models/{model.pk}", {"rssi_dbm-0": "-69,0"}).content.decode()
    assert "what you typed is kept" in html


def test_token_form_submitted_twice_creates_one_token(page: Client) -> None:
    from tests.integration.training.web.test_create_once import form_of
    from training.models import ApiToken

    sent = form_of(page, "/account", "token_form", name="Script")
    first, second = (page.post("/account/tokens", sent) for _ in range(2))
    assert first.status_code == 200
    assert second.status_code == 303
    assert ApiToken.objects.count() == 1
