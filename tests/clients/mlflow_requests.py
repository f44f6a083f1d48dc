"""Requests with errors, and what a server answers: status and `error_code`.

python -m tests.clients.mlflow_requests URL [TOKEN]     # prints the answers
"""

from __future__ import annotations

import json
import sys
from typing import Any
from uuid import uuid4

import httpx

MOMENT = 1_700_000_000_000
METRIC = {"key": "loss", "value": 0.5, "timestamp": MOMENT, "step": 1}
Body = dict[str, Any]


def requests(experiment: str, run: str, deleted: str) -> list[tuple[str, str, Any]]:
    """Name, path below `mlflow/`, and the body; a name that begins with GET has a query."""
    unknown = "f" * 32

    def metric(**changes: Any) -> Body:
        return {"run_id": run, **METRIC, **changes}

    def without(name: str) -> Body:
        return {key: value for key, value in metric().items() if key != name}

    def batch(**changes: Any) -> Body:
        return {"run_id": run, **changes}

    param = {"run_id": run, "key": "lr", "value": "0.1"}
    many = [{**METRIC, "key": f"m{number}"} for number in range(1001)]
    return [
        # Metrics.
        ("metric, valid", "runs/log-metric", metric()),
        ("metric, NaN", "runs/log-metric", metric(value="NaN")),
        ("metric, infinite", "runs/log-metric", metric(value="-Infinity")),
        ("metric, value is a number as text", "runs/log-metric", metric(value="0.5")),
        ("metric, value is a text", "runs/log-metric", metric(value="x")),
        ("metric, value is null", "runs/log-metric", metric(value=None)),
        ("metric, value is a list", "runs/log-metric", metric(value=[1])),
        ("metric, value is a boolean", "runs/log-metric", metric(value=True)),
        ("metric, without value", "runs/log-metric", without("value")),
        ("metric, without key", "runs/log-metric", without("key")),
        ("metric, without timestamp", "runs/log-metric", without("timestamp")),
        ("metric, without step", "runs/log-metric", without("step")),
        ("metric, without run", "runs/log-metric", without("run_id")),
        ("metric, run is empty", "runs/log-metric", metric(run_id="")),
        ("metric, run is a number", "runs/log-metric", metric(run_id=5)),
        ("metric, run is unknown", "runs/log-metric", metric(run_id=unknown)),
        ("metric, run is no ID", "runs/log-metric", metric(run_id="x")),
        ("metric, run is deleted", "runs/log-metric", metric(run_id=deleted)),
        ("metric, key is empty", "runs/log-metric", metric(key="")),
        ("metric, key is a number", "runs/log-metric", metric(key=5)),
        ("metric, key of 250", "runs/log-metric", metric(key="k" * 250)),
        ("metric, key of 251", "runs/log-metric", metric(key="k" * 251)),
        ("metric, key with a slash at its end", "runs/log-metric", metric(key="a/")),
        ("metric, key with ..", "runs/log-metric", metric(key="../a")),
        ("metric, key with a semicolon", "runs/log-metric", metric(key="a;b")),
        ("metric, key with a tab", "runs/log-metric", metric(key="a\tb")),
        ("metric, step is a text", "runs/log-metric", metric(step="x")),
        ("metric, step is a number as text", "runs/log-metric", metric(step="3")),
        ("metric, step is a fraction", "runs/log-metric", metric(step=1.5)),
        ("metric, step is too large", "runs/log-metric", metric(step=2**63)),
        ("metric, timestamp is a text", "runs/log-metric", metric(timestamp="x")),
        ("metric, timestamp is a fraction", "runs/log-metric", metric(timestamp=1.5)),
        ("metric, timestamp is negative", "runs/log-metric", metric(timestamp=-1)),
        ("metric, unknown field", "runs/log-metric", metric(other=1)),
        # Parameters.
        ("param, valid", "runs/log-parameter", param),
        ("param, again", "runs/log-parameter", param),
        ("param, another value", "runs/log-parameter", {**param, "value": "0.2"}),
        ("param, value is a number", "runs/log-parameter", {**param, "key": "a", "value": 5}),
        ("param, value is null", "runs/log-parameter", {**param, "key": "b", "value": None}),
        ("param, value is empty", "runs/log-parameter", {**param, "key": "c", "value": ""}),
        ("param, value of 6000", "runs/log-parameter", {**param, "key": "d", "value": "v" * 6000}),
        ("param, value of 6001", "runs/log-parameter", {**param, "key": "e", "value": "v" * 6001}),
        ("param, without value", "runs/log-parameter", {"run_id": run, "key": "f"}),
        ("param, without key", "runs/log-parameter", {"run_id": run, "value": "1"}),
        ("param, key of 251", "runs/log-parameter", {**param, "key": "k" * 251}),
        ("param, key with ..", "runs/log-parameter", {**param, "key": "a/../b"}),
        ("param, run is unknown", "runs/log-parameter", {**param, "run_id": unknown}),
        ("param, run is deleted", "runs/log-parameter", {**param, "run_id": deleted}),
        # Tags.
        ("tag, valid", "runs/set-tag", {"run_id": run, "key": "a", "value": "b"}),
        ("tag, value is a number", "runs/set-tag", {"run_id": run, "key": "a", "value": 1}),
        ("tag, without value", "runs/set-tag", {"run_id": run, "key": "a"}),
        ("tag, without key", "runs/set-tag", {"run_id": run, "value": "b"}),
        ("tag, key of 251", "runs/set-tag", {"run_id": run, "key": "k" * 251, "value": "b"}),
        ("tag, value of 8001", "runs/set-tag", {"run_id": run, "key": "k", "value": "v" * 8001}),
        ("tag, run is unknown", "runs/set-tag", {"run_id": unknown, "key": "a", "value": "b"}),
        ("tag, run is deleted", "runs/set-tag", {"run_id": deleted, "key": "a", "value": "b"}),
        ("tag, deleted", "runs/delete-tag", {"run_id": run, "key": "a"}),
        ("tag, deleted again", "runs/delete-tag", {"run_id": run, "key": "a"}),
        ("tag, deleted without key", "runs/delete-tag", {"run_id": run}),
        # Batches.
        ("batch, empty", "runs/log-batch", batch()),
        ("batch, without run", "runs/log-batch", {"metrics": [METRIC]}),
        ("batch, metrics are no list", "runs/log-batch", batch(metrics=METRIC)),
        ("batch, metrics are null", "runs/log-batch", batch(metrics=None)),
        ("batch, a metric is a text", "runs/log-batch", batch(metrics=["x"])),
        ("batch, a metric without value", "runs/log-batch", batch(metrics=[{"key": "a"}])),
        ("batch, NaN", "runs/log-batch", batch(metrics=[{**METRIC, "value": "NaN"}])),
        ("batch, 1,001 metrics", "runs/log-batch", batch(metrics=many)),
        ("batch, same metric twice", "runs/log-batch", batch(metrics=[METRIC, METRIC])),
        ("batch, 101 params", "runs/log-batch",
         batch(params=[{"key": f"p{number}", "value": "1"} for number in range(101)])),
        ("batch, 101 tags", "runs/log-batch",
         batch(tags=[{"key": f"t{number}", "value": "1"} for number in range(101)])),
        ("batch, same param twice", "runs/log-batch",
         batch(params=[{"key": "twice", "value": "1"}, {"key": "twice", "value": "1"}])),
        ("batch, a param with two values", "runs/log-batch",
         batch(params=[{"key": "two", "value": "1"}, {"key": "two", "value": "2"}])),
        ("batch, another value of a param", "runs/log-batch",
         batch(metrics=[METRIC], params=[{"key": "lr", "value": "0.3"}])),
        ("batch, a tag with two values", "runs/log-batch",
         batch(tags=[{"key": "two", "value": "1"}, {"key": "two", "value": "2"}])),
        ("batch, run is unknown", "runs/log-batch", {"run_id": unknown, "metrics": [METRIC]}),
        ("batch, run is deleted", "runs/log-batch", {"run_id": deleted, "metrics": [METRIC]}),
        # Runs.
        ("run, experiment is unknown", "runs/create", {"experiment_id": "987654321"}),
        ("run, experiment is no ID", "runs/create", {"experiment_id": "x"}),
        ("run, experiment is a number", "runs/create", {"experiment_id": 987654321}),
        ("run, start is a text", "runs/create", {"experiment_id": experiment, "start_time": "x"}),
        ("run, tags are no list", "runs/create", {"experiment_id": experiment, "tags": "x"}),
        ("run, name is a number", "runs/create", {"experiment_id": experiment, "run_name": 5}),
        ("run, updated, unknown", "runs/update", {"run_id": unknown, "status": "FINISHED"}),
        ("run, updated, deleted", "runs/update", {"run_id": deleted, "status": "FINISHED"}),
        ("run, updated, unknown status", "runs/update", {"run_id": run, "status": "DONE"}),
        ("run, updated, end is a text", "runs/update", {"run_id": run, "end_time": "x"}),
        ("run, updated, without run", "runs/update", {"status": "FINISHED"}),
        ("run, deleted, unknown", "runs/delete", {"run_id": unknown}),
        ("run, deleted again", "runs/delete", {"run_id": deleted}),
        ("run, restored, unknown", "runs/restore", {"run_id": unknown}),
        ("GET run, unknown", "runs/get", {"run_id": unknown}),
        ("GET run, no ID", "runs/get", {"run_id": "x"}),
        ("GET run, without ID", "runs/get", {}),
        # Histories and searches.
        ("GET history, unknown run", "metrics/get-history",
         {"run_id": unknown, "metric_key": "loss"}),
        ("GET history, without key", "metrics/get-history", {"run_id": run}),
        ("GET history, without run", "metrics/get-history", {"metric_key": "loss"}),
        ("GET history, size is a text", "metrics/get-history",
         {"run_id": run, "metric_key": "loss", "max_results": "x"}),
        ("search, no experiment", "runs/search", {}),
        ("search, experiments are a text", "runs/search", {"experiment_ids": experiment}),
        ("search, 0 results", "runs/search", {"experiment_ids": [experiment], "max_results": 0}),
        ("search, 50,001 results", "runs/search",
         {"experiment_ids": [experiment], "max_results": 50_001}),
        ("search, results are a text", "runs/search",
         {"experiment_ids": [experiment], "max_results": "x"}),
        ("search, unknown token", "runs/search",
         {"experiment_ids": [experiment], "page_token": "x"}),
        ("search, invalid filter", "runs/search",
         {"experiment_ids": [experiment], "filter": "metrics.loss <"}),
        ("search, filter is a number", "runs/search",
         {"experiment_ids": [experiment], "filter": 5}),
        ("search, unknown view", "runs/search",
         {"experiment_ids": [experiment], "run_view_type": "SOME"}),
        ("search, invalid order", "runs/search",
         {"experiment_ids": [experiment], "order_by": ["nothing"]}),
        # Experiments.
        ("experiment, without name", "experiments/create", {}),
        ("experiment, name is empty", "experiments/create", {"name": ""}),
        ("experiment, name is a number", "experiments/create", {"name": 5}),
        ("experiment, updated, unknown", "experiments/update",
         {"experiment_id": "987654321", "new_name": "a"}),
        ("experiment, updated, without name", "experiments/update",
         {"experiment_id": experiment}),
        ("experiment, deleted, unknown", "experiments/delete", {"experiment_id": "987654321"}),
        ("experiment, restored, active", "experiments/restore", {"experiment_id": experiment}),
        ("experiment, tag without key", "experiments/set-experiment-tag",
         {"experiment_id": experiment, "value": "a"}),
        ("GET experiment, unknown", "experiments/get", {"experiment_id": "987654321"}),
        ("GET experiment, without ID", "experiments/get", {}),
        ("GET experiment, unknown name", "experiments/get-by-name",
         {"experiment_name": "no such experiment"}),
        ("GET experiment, without name", "experiments/get-by-name", {}),
        ("experiments, 0 results", "experiments/search", {"max_results": 0}),
        ("experiments, without a size", "experiments/search", {}),
        # Bodies.
        ("body is a list", "runs/create", []),
        ("body is a text", "runs/create", "x"),
        ("body is null", "runs/create", None),
        ("unknown operation", "runs/nothing", {}),
        ("GET for POST", "runs/log-metric", {}),
    ]  # fmt: skip


def answers(url: str, token: str = "") -> dict[str, str]:
    """Status and code of the error of each request, by its name."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = {}
    with httpx.Client(base_url=f"{url}/api/2.0/mlflow/", headers=headers, timeout=60) as client:

        def create(path: str, **body: Any) -> Any:
            return client.post(path, json=body).raise_for_status().json()

        experiment = create("experiments/create", name=uuid4().hex)["experiment_id"]
        run, deleted = (
            create("runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
            for _ in range(2)
        )
        create("runs/delete", run_id=deleted)
        for name, path, body in requests(experiment, run, deleted):
            if name.startswith("GET"):
                answer = client.get(path, params=body)
            else:
                answer = client.post(path, json=body)
            found[name] = _summary(answer)
    return found


def _summary(answer: httpx.Response) -> str:
    try:
        code = answer.json().get("error_code", "")
    except (json.JSONDecodeError, AttributeError):
        code = "no JSON"
    return f"{answer.status_code} {code}".strip()


if __name__ == "__main__":
    print(json.dumps(answers(*sys.argv[1:]), indent=1))  # noqa: T201
