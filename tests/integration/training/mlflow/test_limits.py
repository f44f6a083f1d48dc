"""Limits of what one row and one answer contain."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.integration.training.mlflow.conftest import Json, MlflowClient
from training.mlflow import logged_models, pages, registered_models, row_search
from training.models import Job, LoggedModel, MlflowExperiment, MlflowRun, RegisteredModel

LARGE = "x" * 90_000  # of 100,000 that a tag may have


def refused(mlflow: MlflowClient, path: str, body: Json) -> str:
    found = mlflow.post(path, body, status=400)
    assert found["error_code"] == "INVALID_PARAMETER_VALUE"
    return str(found["message"])


def tags(count: int, value: str) -> list[Json]:
    return [{"key": f"k{number}", "value": value} for number in range(count)]


def test_tags_of_a_run_have_a_limit(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    for first in (0, 60):
        batch = [{"key": f"{first}-{number}", "value": "x" * 8000} for number in range(60)]
        mlflow.post("runs/log-batch", {"run_id": run_id, "tags": batch})
    batch = [{"key": f"last{number}", "value": "x" * 8000} for number in range(10)]
    one = {"key": "loss", "value": 1, "timestamp": 1, "step": 0}
    message = refused(mlflow, "runs/log-batch", {"run_id": run_id, "tags": batch, "metrics": [one]})
    assert message.startswith("The tags have 1,0") and message.endswith("limit is 1,000,000 bytes.")
    assert len(MlflowRun.objects.get().tags) == 120
    assert mlflow.run(run_id)["data"].get("metrics", []) == []
    mlflow.post("runs/delete-tag", {"run_id": run_id, "key": "0-0"})
    message = refused(mlflow, "runs/create", {"tags": tags(200, "x" * 8000)})
    assert "limit is 1,000,000 bytes" in message and Job.objects.count() == 1


def test_number_of_tags_of_a_run_has_a_limit(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    MlflowRun.objects.update(tags={f"n{number}": "" for number in range(2000)})
    message = refused(mlflow, "runs/set-tag", {"run_id": run_id, "key": "more"})
    assert message == "There are 2,001 tags; the limit is 2,000."


def test_parameters_of_a_run_have_the_limits_of_a_configuration(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    Job.objects.update(config={f"n{number}": 0 for number in range(1999)})
    params = [{"key": "a", "value": "1"}, {"key": "b", "value": "1"}]
    message = refused(
        mlflow, "runs/log-batch", {"run_id": run_id, "params": params, "tags": tags(1, "v")}
    )
    assert message == "The configuration has 2,001 names, and the limit is 2,000."
    assert len(Job.objects.get().config) == 1999 and MlflowRun.objects.get().tags == {}
    mlflow.post("runs/log-batch", {"run_id": run_id, "params": params[:1]})


def test_inputs_of_a_run_have_a_limit(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()

    def dataset(digest: str, **more: object) -> Json:
        fields = {"name": "d", "digest": digest, "source_type": "s", "source": "s", **more}
        return {"run_id": run_id, "datasets": [{"dataset": fields}]}

    mlflow.post("runs/log-inputs", dataset("1", schema="x" * 600_000))
    message = refused(mlflow, "runs/log-inputs", dataset("2", profile="x" * 600_000))
    assert message.startswith("The inputs have 1,20")
    assert len(MlflowRun.objects.get().inputs) == 1
    for field in ("profile", "source_type"):
        assert field in refused(mlflow, "runs/log-inputs", dataset("3", **{field: "x" * 1_100_000}))
    many = dataset("4")
    many["datasets"][0]["tags"] = [{"key": "k"}] * 101
    assert "at most 100 items" in refused(mlflow, "runs/log-inputs", many)


def test_tags_of_experiments_and_models_have_a_limit(mlflow: MlflowClient) -> None:
    experiment = mlflow.post("experiments/create", {"name": "e"})["experiment_id"]
    model_id = mlflow.post("logged-models", {"name": "m"})["model"]["info"]["model_id"]
    mlflow.post("registered-models/create", {"name": "r"})
    mlflow.post("model-versions/create", {"name": "r", "source": "models:/m"})
    full = {f"n{number}": LARGE for number in range(11)}
    for model in (MlflowExperiment, LoggedModel, RegisteredModel):
        rows: Any = model._default_manager
        rows.update(tags=full)
    RegisteredModel.objects.get().versions.update(tags=full)
    one = {"key": "more", "value": LARGE}
    for path, body in (
        ("experiments/set-experiment-tag", {"experiment_id": experiment, "key": "a", "value": "b"}),
        ("registered-models/set-tag", {"name": "r", **one}),
        ("model-versions/set-tag", {"name": "r", "version": "1", **one}),
        ("registered-models/create", {"name": "s", "tags": tags(12, LARGE)}),
        ("model-versions/create", {"name": "r", "source": "models:/m", "tags": tags(12, LARGE)}),
        ("logged-models", {"name": "n", "tags": tags(12, LARGE)}),
        (f"logged-models/{model_id}/params", {"params": tags(200, "x" * 6000)}),
    ):
        if path.startswith("experiments"):
            MlflowExperiment.objects.update_or_create(
                project_id=experiment, defaults={"tags": {**full, "n12": LARGE}}
            )
        assert "limit is 1,000,000 bytes" in refused(mlflow, path, body), path
    assert RegisteredModel.objects.get().versions.count() == 1


def test_number_of_registered_models_and_versions_is_limited(
    mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered_models, "MAX_MODELS", 1)
    monkeypatch.setattr(registered_models, "MAX_VERSIONS", 1)
    version = {"name": "a", "source": "models:/m"}
    mlflow.post("registered-models/create", {"name": "a"})
    mlflow.post("model-versions/create", version)
    message = refused(mlflow, "registered-models/create", {"name": "b"})
    assert message == "A user has at most 1 registered models; delete some."
    message = refused(mlflow, "model-versions/create", version)
    assert message == "A model has at most 1 versions; delete some."


def test_number_of_experiments_and_logged_models_is_limited(
    mlflow: MlflowClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USER_LIMITS = {**settings.USER_LIMITS, "projects": 1}
    mlflow.post("experiments/create", {"name": "a"})
    found = mlflow.post("experiments/create", {"name": "b"}, status=409)
    assert found["message"].startswith("ada has 1 projects, and the limit is 1: delete some first")
    monkeypatch.setattr(logged_models, "MAX_MODELS", 1)
    mlflow.post("logged-models", {"name": "m"})
    message = refused(mlflow, "logged-models", {"name": "n"})
    assert message == "A user has at most 1 logged models; delete some."
    assert Job.objects.count() == 1


def test_search_reads_large_columns_of_few_rows(
    mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand models with a megabyte of tags each must not be in memory together."""
    monkeypatch.setattr(row_search, "READ_TOGETHER", 2)
    for number in range(5):
        more = {"name": f"m{number}", "tags": tags(1, str(number))}
        mlflow.post("experiments/create", more)
        mlflow.post("logged-models", {**more, "params": tags(1, "p")})
        mlflow.post("registered-models/create", {**more, "description": "d"})
        version = {**more, "source": "models:/m", "description": "d"}
        mlflow.post("model-versions/create", version)
    for search, key, column in (
        (lambda more: mlflow.post("experiments/search", more), "experiments", "tags"),
        (lambda more: mlflow.post("logged-models/search", {"experiment_ids": ["0"], **more}),
         "models", "params"),
        (lambda more: mlflow.get("registered-models/search", more), "registered_models",
         "description"),
        (lambda more: mlflow.get("model-versions/search", more), "model_versions", "description"),
    ):  # fmt: skip
        with CaptureQueriesContext(connection) as queries:
            found = search({"max_results": 3, "filter": "name LIKE 'm%'"})[key]
        assert len(found) == 3
        reads = [one["sql"] for one in queries if f'"{column}"' in one["sql"].split(" FROM ")[0]]
        assert reads and all(" IN (" in sql or "LIMIT 1" in sql for sql in reads), key
        [one] = search({"max_results": 3, "filter": "tags.k0 = '3'"})[key]
        assert "'m3'" in str(one) and "'k0'" in str(one)


def test_page_ends_early_at_its_size(mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        mlflow.create_run(name, tags=tags(1, "x" * 1000))
        mlflow.post("registered-models/create", {"name": name, "tags": tags(1, "x" * 1000)})
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 1500)

    def sizes(key: str, read: Any) -> list[int]:
        token = ""
        found: list[int] = []
        while not found or token:
            page = read({"page_token": token})
            found.append(len(page[key]))
            token = page.get("next_page_token", "")
        return found

    query = {"experiment_ids": ["0"], "max_results": 2}
    assert sizes("runs", lambda more: mlflow.post("runs/search", {**query, **more})) == [1, 1, 1]
    search = "registered-models/search"
    assert sizes("registered_models", lambda more: mlflow.get(search, more)) == [1, 1, 1]


def test_logging_a_value_does_not_read_the_inputs_of_the_run(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        value = {"key": "loss", "value": 1, "timestamp": 1, "step": 0}
        mlflow.post("runs/log-metric", {"run_id": run_id, **value})
        mlflow.post("runs/set-tag", {"run_id": run_id, "key": "a", "value": "b"})
    assert not [one["sql"] for one in queries if '"model_inputs"' in one["sql"]]
