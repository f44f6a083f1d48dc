"""A client that is generated from the schema covers the whole life of a job."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.polling import eventually
from tests.stack import PASSWORD, SMALL, Stack

pytestmark = [pytest.mark.xdist_group("embedded"), pytest.mark.timeout(180)]

NAME = "heimdall_client"
# What a program must look up elsewhere: a type that says nothing.
UNTYPED = re.compile(r"^    (?!additional_properties)\w+: .*\bAny\b", re.MULTILINE)


@pytest.fixture(scope="module")
def made(embedded: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package that openapi-python-client writes, without a word of complaint."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "config.yml").write_text("post_hooks: []\n")
    schema = folder / "schema.json"
    response = httpx.get(f"{embedded.url}/api/v1/schema", headers={"Accept": "application/json"})
    assert response.json()["openapi"].startswith("3.1")
    schema.write_bytes(response.content)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("openapi-python-client")), "generate",
            "--path", str(schema), "--config", str(folder / "config.yml"),
            "--output-path", str(folder / NAME), "--meta", "none", "--fail-on-warning",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield folder / NAME
    sys.path.remove(str(folder))


def of(name: str) -> Any:
    return importlib.import_module(f"{NAME}.{name}")


def test_every_field_has_a_type(made: Path) -> None:
    vague = [
        f"{file.stem}: {found.strip()}"
        for file in (made / "models").glob("*.py")
        for found in UNTYPED.findall(file.read_text(encoding="utf-8"))
    ]
    assert vague == []


@pytest.fixture
def me(made: Path, embedded: Stack) -> Iterator[Any]:
    """A client with a token that it requested itself."""
    client = of("client")
    sent = of("models").TokenRequest(username="ada", password=PASSWORD, name="typed", days=1)
    with client.Client(embedded.url) as stranger:
        signed_in = of("api.auth.auth_token_create").sync(client=stranger, body=sent)
    known = client.AuthenticatedClient(
        embedded.url, signed_in.token, raise_on_unexpected_status=True
    )
    with known:
        yield known


def test_generated_client_covers_the_life_of_a_job(me: Any) -> None:
    models = of("models")

    def call(name: str, *args: Any, **sent: Any) -> Any:
        return of(f"api.training.training_{name}").sync(*args, client=me, **sent)

    def until(job_id: Any, true: Callable[[Any], bool]) -> Any:
        return eventually(lambda: true(job := call("jobs_retrieve", job_id)) and job)

    wanted = models.CreateDataset(name="Typed", samples=300, seed=5)
    making = call("datasets_generate_create", body=wanted, idempotency_key="typed-1")
    assert making == call("datasets_generate_create", body=wanted, idempotency_key="typed-1")
    until(making.id, lambda job: job.status == "completed")
    dataset = call("datasets_retrieve", making.dataset_id)
    assert (dataset.samples, dataset.status, dataset.kind) == (300, "ready", "synthetic")

    sent = {**SMALL, "epochs": 150, "patience": 150, "name": "Typed", "tags": ["a"]}
    job = call("jobs_create", body=models.CreateJob(dataset_id=making.dataset_id, **sent))
    assert (job.tags, job.config.additional_properties["epochs"]) == (["a"], 150)
    until(job.id, lambda job: job.current_epoch >= 2)
    call("jobs_pause_create", job.id)
    paused = until(job.id, lambda job: job.status == "paused")
    columns = call("jobs_metrics_retrieve", job.id, series="val_rmse,train_loss")
    assert columns.total == len(columns.series.additional_properties["val_rmse"])
    assert columns.total == paused.current_epoch
    call("jobs_resume_create", job.id)
    done = until(job.id, lambda job: job.status == "completed")
    assert (done.current_epoch, done.progress_percent) == (150, 100.0)

    page = call("jobs_epochs_list", job.id)
    best = page.results[done.best_epoch - 1]
    assert best.metrics.additional_properties["val_rmse"] == pytest.approx(done.best_val_rmse)
    events = call("jobs_events_retrieve", job.id).results
    assert [event.seq for event in events] == list(range(1, done.seq + 1))
    found = call("jobs_evaluation_retrieve", job.id)
    assert found.test.rmse_m > 0 and found.baselines.additional_properties
    files = {
        artifact.name: artifact for artifact in call("jobs_artifacts_retrieve", job.id).results
    }
    download = of("api.training.training_jobs_artifact_download")
    model_file = download.sync(job.id, "model.safetensors", client=me).payload.read()
    assert len(model_file) == files["model.safetensors"].bytes_

    own = call("models_list").results
    (model,) = (trained for trained in own if trained.job_id == job.id)
    heard = [
        models.Measurement(receiver_id=receiver.additional_properties["id"], rssi_dbm=-90.0 - n)
        for n, receiver in enumerate(dataset.receivers)
    ]
    (place,) = call("models_predict_create", model.id, body=models.Predict(heard)).predictions
    assert 40 < place.lat < 50 and place.ellipse_95.semi_major_m > place.ellipse_68.semi_minor_m

    refused = call("datasets_destroy", making.dataset_id)
    assert (type(refused).__name__, refused.status) == ("Problem", 409)
    for gone in (job.id, making.id):
        call("jobs_destroy", gone)
        assert call("jobs_retrieve", gone).status == 404
    call("datasets_destroy", making.dataset_id)
    assert call("datasets_retrieve", making.dataset_id).status == 404
