"""Search of runs by filter, order and page, on both databases."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Q

from tests.integration.training.mlflow.conftest import Json, MlflowClient
from training.jobs import lifecycle
from training.models import Job

MOMENT = 1_700_000_000_000
DATASET = {"name": "digits", "digest": "d1", "source_type": "code", "source": "{}"}


def create_runs(mlflow: MlflowClient, **more: Any) -> list[str]:
    """Three runs "a", "b" and "c", of which the last has no metrics, parameters or tags."""
    found = []
    for number, name in enumerate("ab"):
        run_id = mlflow.create_run(name, start_time=MOMENT + number, **more)
        batch = {
            "run_id": run_id,
            "metrics": [{"key": "loss", "value": 0.5 - number / 4, "timestamp": 1, "step": 1},
                        {"key": "val-loss", "value": number, "timestamp": 1, "step": 1}],
            "params": [{"key": "lr", "value": f"0.{number}"}, {"key": "a b", "value": "Xy*z"}],
            "tags": [{"key": "stage", "value": ("Dev", "prod")[number]}],
        }  # fmt: skip
        mlflow.post("runs/log-batch", batch)
        found.append(run_id)
    inputs = [{"dataset": DATASET, "tags": [{"key": "mlflow.data.context", "value": "training"}]}]
    mlflow.post("runs/log-inputs", {"run_id": found[0], "datasets": inputs})
    mlflow.post("runs/update", {"run_id": found[1], "status": "FINISHED", "end_time": MOMENT + 9})
    return [*found, mlflow.create_run("c", start_time=MOMENT + 2, **more)]


@pytest.fixture
def runs(mlflow: MlflowClient) -> list[str]:
    return create_runs(mlflow)


def search(mlflow: MlflowClient, filter: str = "", *order_by: str, **more: Any) -> str:  # noqa: A002
    """The names of the found runs."""
    body = {"experiment_ids": ["0"], "filter": filter, "order_by": order_by, **more}
    found = mlflow.post("runs/search", body)
    return "".join(run["info"]["run_name"] for run in found["runs"])


FILTERS = {
    "": "cba",
    "metrics.loss < 0.5": "b",
    "metrics.loss >= 0.25 and metrics.loss != 0.25": "a",
    "metrics.`val-loss` = 1": "b",
    "metrics.missing > 0": "",
    "params.lr = '0.1'": "b",
    "params.lr != '0.1'": "a",
    "params.lr IS NULL": "c",
    "params.lr IS NOT NULL": "ba",
    "params.`a b` LIKE 'X_*%'": "ba",
    "params.`a b` LIKE 'x%'": "",
    "params.`a b` ILIKE 'x%'": "ba",
    "tags.stage = 'prod'": "b",
    "tags.stage ILIKE 'DEV'": "a",
    "tags.mlflow.runName = 'a'": "a",
    "tags.`mlflow.user` IS NULL": "cba",
    "attributes.status = 'FINISHED'": "b",
    "status != 'FINISHED'": "ca",
    "run_name LIKE '_'": "cba",
    "attribute.`Run name` = 'c'": "c",
    f"start_time > {MOMENT}": "cb",
    f"start_time = {MOMENT}": "a",
    f"start_time != {MOMENT}": "cb",
    f"end_time <= {MOMENT + 9}": "b",
    "start_time < 1e300": "cba",
    "start_time > -1e300": "cba",
    "user_id = 'ada'": "cba",
    "artifact_uri LIKE 'mlflow-artifacts:/0/%/artifacts'": "cba",
    "dataset.name = 'digits'": "a",
    "datasets.digest IN ('d1', 'd2')": "a",
    "dataset.context LIKE 'train%'": "a",
    "dataset.context = 'test'": "",
}


@pytest.mark.usefixtures("runs")
def test_filters_find_what_matches(mlflow: MlflowClient) -> None:
    assert {text: search(mlflow, text) for text in FILTERS} == FILTERS


def test_runs_are_found_by_id(mlflow: MlflowClient, runs: list[str]) -> None:
    assert search(mlflow, f"run_id = '{runs[0]}'") == "a"
    assert search(mlflow, f"run_id IN ('{runs[0]}', '{runs[2]}', 'x')") == "ca"
    assert search(mlflow, f"run_id != '{runs[0]}'") == "cb"
    assert search(mlflow, f"run_id LIKE '{runs[1][:31]}%'") == "b"


@pytest.mark.usefixtures("runs")
def test_missing_values_are_last_in_each_order(mlflow: MlflowClient) -> None:
    orders = {
        "metrics.loss": "bac", "metrics.loss DESC": "abc", "params.lr DESC": "bac",
        "tags.stage ASC": "abc", "start_time ASC": "abc", "attributes.run_name DESC": "cba",
        "end_time DESC": "bca", "status": "bca",
    }  # fmt: skip
    assert {order: search(mlflow, "", order) for order in orders} == orders


@pytest.mark.usefixtures("runs")
def test_pages_follow_each_other(mlflow: MlflowClient) -> None:
    body: Json = {"experiment_ids": ["0"], "max_results": 2}
    first = mlflow.post("runs/search", body)
    second = mlflow.post("runs/search", {**body, "page_token": first["next_page_token"]})
    names = [[run["info"]["run_name"] for run in page["runs"]] for page in (first, second)]
    assert names == [["c", "b"], ["a"]]
    assert "next_page_token" not in second


@pytest.mark.parametrize(
    "token", ["x", "é", base64.b64encode(b'{"offset": -1}').decode(), "W10=", "MQ==", "bnVsbA=="]
)
def test_unknown_page_token_is_refused(mlflow: MlflowClient, token: str) -> None:
    mlflow.post("runs/search", {"experiment_ids": ["0"], "page_token": token}, 400)


def test_deleted_runs_are_found_on_request_only(mlflow: MlflowClient, runs: list[str]) -> None:
    mlflow.post("runs/delete", {"run_id": runs[0]})
    assert search(mlflow) == "cb"
    assert search(mlflow, run_view_type="DELETED_ONLY") == "a"
    assert search(mlflow, run_view_type="ALL") == "cba"


def test_runs_are_found_in_their_experiment(mlflow: MlflowClient) -> None:
    experiment = mlflow.post("experiments/create", {"name": "digits"})["experiment_id"]
    mlflow.create_run("a", experiment_id=experiment)
    mlflow.create_run("b")
    assert search(mlflow, experiment_ids=[experiment]) == "a"
    assert search(mlflow, experiment_ids=["0", "17", "f" * 32]) == "b"
    assert search(mlflow, experiment_ids=[]) == ""


@pytest.mark.usefixtures("runs")
def test_runs_of_others_are_not_found(bob: User, mlflow_of: Callable[..., MlflowClient]) -> None:
    assert search(mlflow_of(bob)) == ""


def test_invalid_filter_is_an_error_of_the_request(mlflow: MlflowClient) -> None:
    for body in ({"filter": "metrics.a"}, {"order_by": ["x"]}, {"max_results": 0}):
        found = mlflow.post("runs/search", {"experiment_ids": ["0"], **body}, 400)
        assert found["error_code"] == "INVALID_PARAMETER_VALUE"


def test_inputs_and_outputs_are_stored_once(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    inputs = {"run_id": run_id, "datasets": [{"dataset": {**DATASET, "schema": "{}"}, "tags": []}],
              "models": [{"model_id": "m-1"}]}  # fmt: skip
    outputs = {"run_id": run_id, "models": [{"model_id": "m-1", "step": 3}]}
    for _ in range(2):
        mlflow.post("runs/log-inputs", inputs)
        mlflow.post("runs/outputs", outputs)
    run = mlflow.run(run_id)
    assert run["inputs"]["dataset_inputs"] == inputs["datasets"]
    assert run["inputs"]["model_inputs"] == inputs["models"]
    assert run["outputs"]["model_outputs"] == outputs["models"]


def test_experiments_are_found_by_filter_and_order(ada: User, mlflow: MlflowClient) -> None:
    for name in ("b", "a"):
        tags = [{"key": "team", "value": name.upper()}]
        mlflow.post("experiments/create", {"name": name, "tags": tags})

    def names(**body: Any) -> list[str]:
        found = mlflow.post("experiments/search", {"max_results": 10, **body})
        return [one["name"] for one in found["experiments"]]

    assert names() == ["a", "b", "Default"]
    assert names(order_by=["name DESC"]) == ["b", "a", "Default"]
    assert names(filter="name ILIKE 'A' AND tags.team = 'A'") == ["a"]
    assert names(filter="creation_time < 5") == []
    assert names(max_results=1) == ["a"]
    assert names(view_type="DELETED_ONLY") == []
    assert Job.objects.count() == 0


def test_parameters_of_a_started_job_are_found_as_they_are_shown(
    mlflow: MlflowClient, job: Job
) -> None:
    shown = {param["key"]: param["value"] for param in mlflow.run(job.pk.hex)["data"]["params"]}
    assert {"True", "1.0"} <= set(shown.values())
    for name, text in shown.items():
        assert search(mlflow, f"params.{name} = '{text}'") == "First", name
        assert search(mlflow, f"params.{name} != '{text}'") == "", name


def test_changed_configuration_is_found_as_it_is_shown(mlflow: MlflowClient, job: Job) -> None:
    lifecycle.change(job.pk, Q(), config={**job.config, "seed": 1e-05, "lr": "x"})
    assert search(mlflow, "params.seed = '1e-05' AND params.lr = 'x'") == "First"


@pytest.mark.parametrize("operator", ["LIKE", "ILIKE"])
def test_longest_pattern_is_compared_by_the_database(mlflow: MlflowClient, operator: str) -> None:
    """SQLite refuses patterns of more than 50,000 bytes."""
    mlflow.create_run()
    longest, longer = (f"run_name {operator} '{'*' * count}'" for count in (1000, 1001))
    body = {"experiment_ids": ["0"], "filter": longest}
    assert mlflow.post("runs/search", body)["runs"] == []
    found = mlflow.post("runs/search", {**body, "filter": longer}, status=400)
    assert "use at most 1,000" in found["message"]
