"""Both databases answer or reject any filter string of `search_runs` alike.

HEIMDALL_FUZZ=full sends 10,000 strings to running servers and prints how long they took;
HEIMDALL_FUZZ_SEED chooses others.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from random import Random
from uuid import uuid4

import pytest

from tests.integration.training.mlflow.conftest import MlflowClient
from tests.integration.training.mlflow.filter_texts import TEXTS, filter_text
from tests.integration.training.mlflow.test_databases import HttpMlflowClient
from tests.integration.training.mlflow.test_run_search import create_runs
from tests.stack import Stack

# The IDs of runs are random, and those of the two databases differ.
HAS_ID = re.compile("run_id|artifact_uri")
JSON = {"Content-Type": "application/json"}
SEED = int(os.environ.get("HEIMDALL_FUZZ_SEED", "1"))


def filter_texts(count: int) -> list[str]:
    random = Random(SEED)
    return [filter_text(random) for _ in range(count)]


def test_any_filter_is_answered_or_rejected(mlflow: MlflowClient) -> None:
    create_runs(mlflow)
    statuses: Counter[int] = Counter()
    for text in filter_texts(400):
        body = {"experiment_ids": ["0"], "filter": text}
        answer = mlflow.client.post("/api/2.0/mlflow/runs/search", body, "application/json")
        assert answer.status_code in (200, 400), (text, answer.content)
        assert "runs" in answer.json() or answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
        statuses[answer.status_code] += 1
    assert min(statuses[200], statuses[400]) > 50, "the strings are all alike"


@pytest.mark.skipif(os.environ.get("HEIMDALL_FUZZ") != "full", reason="HEIMDALL_FUZZ=full runs it")
@pytest.mark.rabbit
@pytest.mark.xdist_group("stack")
@pytest.mark.timeout(3600)
def test_any_filter_finds_the_same_on_both_databases(embedded: Stack, stack: Stack) -> None:
    texts = filter_texts(10_000)
    on_sqlite, on_postgres = (answers(one, texts) for one in (embedded, stack))
    different = [
        (text, first, second)
        for text, first, second in zip(texts, on_sqlite, on_postgres, strict=True)
        if first != second and not HAS_ID.search(text)
    ]
    assert different == []


def answers(installation: Stack, texts: list[str]) -> list[str]:
    """The names of the runs that each filter finds, or the code of its error."""
    mlflow = HttpMlflowClient(installation)
    experiment = mlflow.post("experiments/create", {"name": uuid4().hex})["experiment_id"]
    for _ in range(60):
        create_runs(mlflow, experiment_id=experiment)
    for number, value in enumerate(TEXTS):
        run_id = mlflow.create_run(f"r{number}", experiment_id=experiment, start_time=number)
        rows = [{"key": "lr", "value": value}, {"key": "é", "value": value[::-1]}]
        mlflow.post("runs/log-batch", {"run_id": run_id, "params": rows, "tags": rows})
    found, took = [], []
    for text in texts:
        # Escaped, because httpx cannot encode a half of a surrogate pair.
        content = json.dumps({"experiment_ids": [experiment], "filter": text}, ensure_ascii=True)
        started = time.perf_counter()
        answer = mlflow.http.post("runs/search", content=content, headers=JSON)
        took.append((1000 * (time.perf_counter() - started), text))
        assert answer.status_code in (200, 400), (text, answer.text)
        rows = answer.json()
        names = [run["info"]["run_name"] for run in rows.get("runs", [])]
        found.append(rows.get("error_code") or " ".join(names))
    mlflow.http.close()
    took.sort(reverse=True)
    p50, p99, longest = (took[len(took) // part][0] for part in (2, 100, len(took) + 1))
    refused = sum(one == "INVALID_PARAMETER_VALUE" for one in found)
    print(  # noqa: T201  (figures of a long run)
        f"\n{len(texts):,} filters, {refused:,} refused; p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"at most {longest:.1f} ms for {took[0][1][:200]!r}"
    )
    return found
