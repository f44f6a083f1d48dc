"""The same filters find the same runs on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.integration.training.mlflow.conftest import Json, MlflowClient
from tests.integration.training.mlflow.test_run_search import FILTERS, create_runs, search
from tests.stack import Stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(240),
]


class HttpMlflowClient(MlflowClient):
    """Sends its requests to a running server."""

    def __init__(self, installation: Stack) -> None:
        headers = {"Authorization": f"Bearer {installation.tokens['ada']}"}
        self.http = httpx.Client(
            base_url=f"{installation.url}/api/2.0/mlflow/", headers=headers, timeout=60
        )

    def post(self, path: str, body: Json, status: int = 200) -> Json:
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def get(self, path: str, query: Json, status: int = 200) -> Json:
        answer = self.http.get(path, params=query)
        assert answer.status_code == status, answer.text
        return dict(answer.json())


@pytest.fixture(params=["embedded", "stack"])
def installation(request: pytest.FixtureRequest) -> Stack:
    found: Stack = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def mlflow(installation: Stack) -> Iterator[HttpMlflowClient]:
    client = HttpMlflowClient(installation)
    yield client
    client.http.close()


def test_filters_find_the_same_on_both_databases(mlflow: HttpMlflowClient) -> None:
    experiment = mlflow.post("experiments/create", {"name": uuid4().hex})["experiment_id"]
    create_runs(mlflow, experiment_id=experiment)
    own = {text: text.replace("mlflow-artifacts:/0/", "mlflow-artifacts:/%/") for text in FILTERS}
    found = {text: search(mlflow, own[text], experiment_ids=[experiment]) for text in FILTERS}
    assert found == FILTERS


# Values as they are configured, and as MLflow's client writes them once the API has made integers
# of numbers without a fraction.
TEXTS: list[tuple[object, str]] = [
    (True, "True"), (False, "False"), (None, "None"), (1, "1"), (-3, "-3"), (10**18, f"{10**18}"),
    (2.0, "2"), (1e-05, "1e-05"), (1e20, "1e+20"), (1e15, "1000000000000000"),
    (0.1 + 0.2, "0.30000000000000004"), (5e-324, "5e-324"), (123456.789, "123456.789"),
    ([1, 2.0, None], "[1, 2, None]"), ([], "[]"), ({}, "{}"),
    ({"longer": 1, "b": [True]}, "{'longer': 1, 'b': [True]}"), (["it's"], "[\"it's\"]"),
    ("true", "true"), ("null", "null"), ("1e-5", "1e-5"), ("[1,2]", "[1,2]"), ("", ""), ("É", "É"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["value", "a.b c", "é $[0]"])
def test_parameters_are_compared_as_the_texts_that_a_run_shows(
    installation: Stack, mlflow: HttpMlflowClient, name: str
) -> None:
    column = f"params.`{name}`"
    experiment, texts = configured_runs(installation, mlflow, name)

    def found(condition: str, *order_by: str) -> list[str]:
        body = {"experiment_ids": [experiment], "filter": condition, "order_by": order_by}
        runs = mlflow.post("runs/search", body)["runs"]
        return [texts[run["info"]["run_name"]] for run in runs]

    expected = [text for _, text in TEXTS]
    assert sorted(texts.values()) == sorted(expected)
    for text in expected:
        quoted = f'"{text}"' if "'" in text else f"'{text}'"
        if text == """["it's"]""":  # no literal of a filter has both marks
            continue
        assert found(f"{column} = {quoted}") == [text]
        assert sorted(found(f"{column} != {quoted}")) == sorted(set(expected) - {text})
        assert text in found(f"{column} LIKE {quoted}")
        assert text in found(f"{column} ILIKE {quoted}")
    assert sorted(found(f"{column} LIKE '%e%'")) == sorted(t for t in expected if "e" in t)
    assert sorted(found(f"{column} ILIKE 'TRUE'")) == ["True", "true"]
    assert found(f"{column} IS NULL") == []
    assert len(found(f"{column} IS NOT NULL")) == len(expected)
    assert found("", column) == sorted(expected)
    assert found("", f"{column} DESC") == sorted(expected, reverse=True)


def configured_runs(
    installation: Stack, mlflow: HttpMlflowClient, name: str
) -> tuple[str, dict[str, str]]:
    """The experiment of jobs with one value each, and what `runs/get` shows, by name of the run."""
    project, texts = f"texts {uuid4().hex}", {}
    with installation.api() as api:
        for number, (value, _) in enumerate(TEXTS):
            body = {"name": f"r{number}", "project": project, "config": {name: value}}
            job = api.post("/reports", json=body)
            assert job.status_code == httpx.codes.CREATED, job.text
            (param,) = mlflow.run(job.json()["id"])["data"]["params"]
            texts[f"r{number}"] = param["value"]
    by_name = {"experiment_name": project}
    experiment = mlflow.get("experiments/get-by-name", by_name)["experiment"]["experiment_id"]
    return experiment, texts
