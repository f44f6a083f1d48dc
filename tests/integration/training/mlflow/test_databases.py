"""The same filters find the same runs on SQLite and PostgreSQL."""

from __future__ import annotations

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


@pytest.mark.parametrize("kind", ["embedded", "stack"])
def test_filters_find_the_same_on_both_databases(kind: str, request: pytest.FixtureRequest) -> None:
    mlflow = HttpMlflowClient(request.getfixturevalue(kind))
    request.addfinalizer(mlflow.http.close)
    experiment = mlflow.post("experiments/create", {"name": uuid4().hex})["experiment_id"]
    create_runs(mlflow, experiment_id=experiment)
    own = {text: text.replace("mlflow-artifacts:/0/", "mlflow-artifacts:/%/") for text in FILTERS}
    found = {text: search(mlflow, own[text], experiment_ids=[experiment]) for text in FILTERS}
    assert found == FILTERS
