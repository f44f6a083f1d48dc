"""MLflow's client returns the same from Heimdall as from MLflow's own server, field by field.

`HEIMDALL_CLIENTS=full MLFLOW_PYTHON=…/bin/python python3 manage.py test -n 0 tests/clients` runs
it, with an interpreter whose environment has the package `mlflow`. MLFLOW_CLIENTS may name
interpreters of further clients, separated by colons; `mlflow-skinny` suffices for them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.mlflow_requests import answers
from tests.clients.mlflow_server import PYTHON, mlflow_server
from tests.stack import Stack, running_stack

CLIENTS = [PYTHON, *filter(None, os.environ.get("MLFLOW_CLIENTS", "").split(":"))]
CALLS = Path(__file__).with_name("mlflow_calls.py")
pytestmark = [
    pytest.mark.skipif(
        os.environ.get("HEIMDALL_CLIENTS") != "full", reason="HEIMDALL_CLIENTS=full runs it"
    ),
    pytest.mark.timeout(600),
]
# Why a field differs, by a pattern of the call and field. docs/clients.md has the same reasons.
EXPLAINED = {
    r"get_metric_history, infinite: \[0\]\.value": "MLflow's database stores 1.8e308 for infinity",
    r"get_run, newest values: \.infinite": "MLflow's database stores 1.8e308 for infinity",
    r"get_run, finished and running again: ": "a run that has finished stays finished",
    r"log_metric, negative step: .*": "steps are not negative",
}


# The same of requests with errors; docs/clients.md names the kinds.
WRONG_TYPE = "MLflow's server fails, or ignores a value of a wrong type; Heimdall refuses it"
EXPLAINED_REQUESTS = {
    "metric, value is a list": WRONG_TYPE,
    "metric, step is a fraction": WRONG_TYPE,
    "metric, step is too large": WRONG_TYPE,
    "metric, timestamp is a fraction": WRONG_TYPE,
    "batch, metrics are null": "MLflow's server fails; null is a missing field",
    "batch, a metric is a text": WRONG_TYPE,
    "run, tags are no list": WRONG_TYPE,
    "run, updated, unknown status": WRONG_TYPE,
    "GET history, size is a text": WRONG_TYPE,
    "search, unknown view": WRONG_TYPE,
    "search, experiments are a text": "Heimdall takes it for a list of one, as in a query string",
    "run, experiment is no ID": "IDs of experiments have another form",
    "GET history, unknown run": "MLflow's server returns an empty history",
    "experiment, restored, active": "a repeated request changes nothing",
    "experiments, without a size": "Heimdall has a default",
    "body is a list": "the code of a body that is no object differs",
    "body is a text": "MLflow's server fails",
    "body is null": "an empty body is an object without fields",
    "unknown operation": "MLflow's server answers without JSON",
    "GET for POST": "MLflow's server answers without JSON",
}


def results(client: str, folder: Path, name: str, url: str, token: str = "") -> dict[str, Any]:
    output = folder / f"{name}.json"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
        "MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": token,
    }  # fmt: skip
    done = subprocess.run(
        [client, str(CALLS), str(output)], env=environment, cwd=folder, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(output.read_text()))


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested JSON by its path, and the length of every list."""
    match value:
        case dict() if value:
            for key, one in value.items():
                yield from fields(one, f"{path}.{key}")
        case list():
            yield f"{path}.length", len(value)
            for position, one in enumerate(value):
                yield from fields(one, f"{path}[{position}]")
        case _:
            yield path, value


def test_fields_lists_every_nested_value() -> None:
    assert dict(fields({"a": [1, {"b": None}], "c": {}})) == {
        ".a.length": 2, ".a[0]": 1, ".a[1].b": None, ".c": {},
    }  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_client_returns_the_same_as_from_its_own_server(
    client: str, embedded: Stack, tmp_path: Path
) -> None:
    with mlflow_server(tmp_path) as url:
        expected = results(client, tmp_path, "mlflow", url)
    found = results(client, tmp_path, "heimdall", embedded.url, embedded.tokens["ada"])
    assert found.keys() == expected.keys()
    equal = 0
    explained: list[str] = []
    unexplained: list[str] = []
    for call in expected:
        theirs, ours = dict(fields(expected[call])), dict(fields(found[call]))
        for path in theirs.keys() | ours.keys():
            if path in theirs and path in ours and theirs[path] == ours[path]:
                equal += 1
                continue
            difference = f"{call}: {path}"
            reasons = [one for one in EXPLAINED if re.fullmatch(one, difference)]
            text = f"{difference}: {theirs.get(path)!r}, ours {ours.get(path)!r}"
            (explained if reasons else unexplained).append(text)
    different = {text.partition(":")[0] for text in explained + unexplained}
    print(  # noqa: T201  (the figures of docs/clients.md)
        f"\n{client}: {len(expected)} calls, {len(expected) - len(different)} equal; "
        f"{equal} fields equal, {len(explained)} explained, {len(unexplained)} not."
    )
    assert unexplained == []
    unused = [one for one in EXPLAINED if not any(re.match(one, text) for text in explained)]
    assert unused == [], "these explanations match no difference"


def test_requests_with_errors_get_the_same_status_and_code(embedded: Stack, tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as url:
        expected = answers(url)
    found = answers(embedded.url, embedded.tokens["ada"])
    assert found.keys() == expected.keys()
    different = {
        name: (expected[name], found[name]) for name in expected if expected[name] != found[name]
    }
    print(f"\n{len(expected)} requests, {len(expected) - len(different)} equal")  # noqa: T201
    unexplained = {name: pair for name, pair in different.items() if name not in EXPLAINED_REQUESTS}
    assert unexplained == {}
    assert EXPLAINED_REQUESTS.keys() - different.keys() == set(), "these match no difference"


SCRIPT = """
import mlflow

with mlflow.start_run() as run:
    mlflow.log_params({"optimizer": "adam"})
    for step in range(3):
        mlflow.log_metric("loss", 0.5**step, step=step)
    mlflow.log_text("hello", "notes/a.txt")
"""
MANIFEST = f"""
title = "Logs with MLflow"
command = ["{PYTHON}", "train.py"]
[parameters]
count = {{ type = "integer", default = 3 }}
"""


def test_mlflow_inside_a_program_logs_into_its_job(tmp_path: Path) -> None:
    folder = tmp_path / "programs" / "logging"
    folder.mkdir(parents=True)
    (folder / "program.toml").write_text(MANIFEST)
    (folder / "train.py").write_text(SCRIPT)
    data = tmp_path / "data"
    data.mkdir()
    with (
        running_stack(data, HEIMDALL_PROGRAMS_DIR=str(folder.parent)) as stack,
        stack.api() as api,
    ):
        created = api.post("/jobs", json={"program": "logging", "parameters": {}})
        assert created.status_code == httpx.codes.CREATED, created.text
        job_id = created.json()["id"]
        job = stack.until(job_id, "completed")
        found = api.get(f"/jobs/{job_id}/metrics", params={"series": "loss"}).json()
        names = [one["name"] for one in api.get(f"/jobs/{job_id}/artifacts").json()["results"]]
        count = len(api.get("/jobs").json()["results"])
    assert (found["step"], found["series"]["loss"]) == ([0, 1, 2], [1.0, 0.5, 0.25])
    assert names == ["notes/a.txt"]
    assert (job["config"], count) == ({"count": 3}, 1)
