"""The number of database queries of MLflow requests."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.integration.training.mlflow.conftest import MlflowClient

METRIC = {"key": "loss", "value": 0.5, "timestamp": 1_700_000_000_123, "step": 1}
METRICS = [{**METRIC, "key": f"metric {number}"} for number in range(10)]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        # Token with its user, begin, run, index, batch, index, job, job, commit.
        ("runs/log-metric", METRIC, 9),
        ("runs/log-batch", {"metrics": METRICS}, 9),
        # Token with its user, begin, run, its MLflow row twice, job, job, commit.
        ("runs/log-parameter", {"key": "lr", "value": "0.1"}, 8),
        ("runs/set-tag", {"key": "stage", "value": "dev"}, 8),
    ],
)
@pytest.mark.usefixtures("no_rate_limits")
def test_write_needs_few_statements(
    mlflow: MlflowClient, path: str, body: dict[str, Any], expected: int
) -> None:
    request = {"run_id": mlflow.create_run(), **body}
    # The first one notes the use of the token.
    mlflow.post(path, request)
    with CaptureQueriesContext(connection) as queries:
        mlflow.post(path, request)
    found = [one["sql"] for one in queries.captured_queries]
    assert len(found) == expected, "\n".join(found)
