"""Calls of MLflow's client against the server of MLFLOW_TRACKING_URI; writes what they return.

    python mlflow_calls.py results.json

The IDs that a server chooses and the moments of its clock are replaced by placeholders. The script
runs with the interpreter of an installed MLflow, from 2.9 on, and imports nothing of Heimdall.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

MOMENT = 1_700_000_000_000
CLOCK = {
    "creation_time", "last_update_time", "creation_timestamp", "last_updated_timestamp",
    "creation_timestamp_ms", "last_updated_timestamp_ms",
}  # fmt: skip
Calls = list[tuple[str, Callable[[], Any]]]


class Recorder:
    """What each call returned, or the code and text of its error."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self._placeholders: dict[str, str] = {}

    def name(self, identifier: str, placeholder: str) -> str:
        self._placeholders[identifier] = f"<{placeholder}>"
        return identifier

    def call(self, name: str, function: Callable[[], Any]) -> Any:
        try:
            found = function()
        except MlflowException as error:
            self.results[name] = {"error_code": error.error_code}
            return None
        self.results[name] = self.plain(found)
        return found

    def plain(self, value: Any, key: str = "") -> Any:
        if key in CLOCK:
            return "<moment>" if isinstance(value, int) else value
        if isinstance(value, str):
            return self._text(value, key)
        if value is None or isinstance(value, int | float):
            return repr(value) if isinstance(value, float) else value
        if isinstance(value, Mapping):
            return {
                self.plain(str(name)): self.plain(one, str(name)) for name, one in value.items()
            }
        if hasattr(value, "__len__"):  # a list, or one of protobuf
            return [self.plain(one) for one in value]
        # An entity yields its properties, or has them as private attributes.
        found = dict(value) if hasattr(value, "__iter__") else getattr(value, "__dict__", None)
        if found is None:
            return str(value)
        return {name.lstrip("_"): self.plain(one, name.lstrip("_")) for name, one in found.items()}

    def _text(self, value: str, key: str) -> str:
        for identifier, placeholder in self._placeholders.items():
            if identifier.isdigit():  # MLflow's IDs of experiments
                if key == "experiment_id" and value == identifier:
                    return placeholder
                whole = rf"(?<=mlflow-artifacts:/){identifier}(?=/|$)"
            else:
                whole = re.escape(identifier)
            value = re.sub(whole, placeholder, value)
        return value


def main() -> None:
    logging.disable(logging.WARNING)
    recorder, client = Recorder(), MlflowClient()
    unique = os.urandom(4).hex()
    experiment = experiments(recorder, client, recorder.name(f"digits {unique}", "name"))
    runs(recorder, client, experiment)
    metrics(recorder, client, experiment)
    searches(recorder, client, experiment)
    artifacts(recorder, client, experiment)
    models(recorder, client, experiment, recorder.name(f"model-{unique}", "model name"))
    fluent(recorder, client, recorder.name(f"fluent {unique}", "fluent"))
    Path(sys.argv[1]).write_text(json.dumps(recorder.results))


def experiments(recorder: Recorder, client: MlflowClient, name: str) -> str:
    call = recorder.call
    call("get_experiment_by_name, unknown", lambda: client.get_experiment_by_name(name))
    call("get_experiment, unknown", lambda: client.get_experiment("987654321"))
    created = client.create_experiment(name, tags={"team": "radio"})
    experiment = recorder.name(created, "experiment")
    call("create_experiment, again", lambda: client.create_experiment(name))
    call("get_experiment", lambda: client.get_experiment(experiment))
    call("get_experiment_by_name", lambda: client.get_experiment_by_name(name))
    call("set_experiment_tag", lambda: client.set_experiment_tag(experiment, "a", "b"))
    call("get_experiment, with tags", lambda: client.get_experiment(experiment))
    if hasattr(client, "delete_experiment_tag"):
        call("delete_experiment_tag", lambda: client.delete_experiment_tag(experiment, "a"))
    call("delete_experiment", lambda: client.delete_experiment(experiment))
    call("get_experiment, deleted", lambda: client.get_experiment(experiment))
    call("restore_experiment", lambda: client.restore_experiment(experiment))
    query = f"name = '{name}'"
    call("search_experiments", lambda: client.search_experiments(filter_string=query))
    call(
        "search_experiments, by tag",
        lambda: client.search_experiments(filter_string=f"{query} AND tags.team = 'radio'"),
    )
    call(
        "search_experiments, deleted",
        lambda: client.search_experiments(ViewType.DELETED_ONLY, filter_string=query),
    )
    call("search_experiments, invalid", lambda: client.search_experiments(filter_string="name >"))
    call("get default experiment", lambda: client.get_experiment_by_name("Default").experiment_id)
    return experiment


def new_run(recorder: Recorder, client: MlflowClient, experiment: str, name: str, at: int) -> str:
    tags = {"mlflow.user": "ada", "mlflow.source.name": "train.py", "stage": name}
    run = client.create_run(experiment, start_time=MOMENT + at, tags=tags, run_name=name)
    return recorder.name(run.info.run_id, f"run {name}")


def runs(recorder: Recorder, client: MlflowClient, experiment: str) -> None:
    call = recorder.call
    run = new_run(recorder, client, experiment, "life", 0)
    call("get_run", lambda: client.get_run(run))
    call("get_run, unknown", lambda: client.get_run("f" * 32))
    call("log_param", lambda: client.log_param(run, "lr", 0.1))
    call("log_param, again", lambda: client.log_param(run, "lr", 0.1))
    call("log_param, changed", lambda: client.log_param(run, "lr", 0.2))
    call("set_tag", lambda: client.set_tag(run, "a", "b"))
    call("set_tag, note", lambda: client.set_tag(run, "mlflow.note.content", "A note."))
    call("set_tag, delete", lambda: client.delete_tag(run, "a"))
    call("delete_tag, unknown", lambda: client.delete_tag(run, "a"))
    call("log_batch", lambda: client.log_batch(
        run,
        [Metric("loss", 0.5, MOMENT + 1, 1), Metric("accuracy", 0.9, MOMENT + 1, 1)],
        [Param("layers", "3"), Param("name", "relu")],
        [RunTag("x", "y")],
    ))  # fmt: skip
    call("log_batch, changed parameter", lambda: client.log_batch(
        run, [Metric("never", 1.0, MOMENT, 1)], [Param("layers", "4")]
    ))  # fmt: skip
    call("get_run, with values", lambda: client.get_run(run))
    call("update_run, name", lambda: client.update_run(run, name="renamed"))
    call("get_run, renamed", lambda: client.get_run(run).info.run_name)
    dataset = Dataset("digits", "d1", "code", "{}", "{}", "{}")
    inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
    call("log_inputs", lambda: client.log_inputs(run, inputs))
    call("log_inputs, again", lambda: client.log_inputs(run, inputs))
    call("get_run, with inputs", lambda: client.get_run(run).inputs)
    child = client.create_run(experiment, MOMENT + 5, {"mlflow.parentRunId": run}, "child")
    recorder.name(child.info.run_id, "run child")
    call("get_parent_run", lambda: client.get_parent_run(child.info.run_id).info.run_id)
    call("set_terminated", lambda: client.set_terminated(run, "FAILED", MOMENT + 9))
    call("get_run, failed", lambda: client.get_run(run).info)
    call("set_terminated, again", lambda: client.set_terminated(run, "FAILED", MOMENT + 9))
    call("update_run, running again", lambda: client.update_run(run, "RUNNING"))
    call("get_run, running again", lambda: client.get_run(run).info.status)
    call("set_terminated, finished", lambda: client.set_terminated(run, "FINISHED", MOMENT + 10))
    call("get_run, finished", lambda: client.get_run(run).info)
    call("log_metric, finished", lambda: client.log_metric(run, "late", 1.0, MOMENT + 11, 7))
    call("get_run, late value", lambda: client.get_run(run).data.metrics)
    client.update_run(run, "RUNNING")
    call("get_run, finished and running again", lambda: client.get_run(run).info.status)
    client.set_terminated(run, "FINISHED", MOMENT + 10)
    call(
        "set_terminated, child", lambda: client.set_terminated(child.info.run_id, "KILLED", MOMENT)
    )
    call("get_run, killed", lambda: client.get_run(child.info.run_id).info.status)
    call("delete_run", lambda: client.delete_run(child.info.run_id))
    call("get_run, deleted", lambda: client.get_run(child.info.run_id).info.lifecycle_stage)
    call("log_metric, deleted", lambda: client.log_metric(child.info.run_id, "a", 1.0))
    call("set_tag, deleted", lambda: client.set_tag(child.info.run_id, "a", "b"))
    call("restore_run", lambda: client.restore_run(child.info.run_id))
    call("get_run, restored", lambda: client.get_run(child.info.run_id).info.lifecycle_stage)
    unnamed = client.create_run(experiment, MOMENT)
    recorder.name(unnamed.info.run_id, "run unnamed")
    call("create_run, unnamed", lambda: bool(unnamed.info.run_name))
    client.delete_run(unnamed.info.run_id)
    client.delete_run(child.info.run_id)
    client.delete_run(run)


def metrics(recorder: Recorder, client: MlflowClient, experiment: str) -> None:
    call = recorder.call
    run = new_run(recorder, client, experiment, "metrics", 0)
    for step, value in enumerate([1.0, 0.5, float("nan"), 1e-300, -2.5]):
        client.log_metric(run, "loss", value, MOMENT + step, step)
    call("get_metric_history", lambda: client.get_metric_history(run, "loss"))
    call("get_metric_history, unknown", lambda: client.get_metric_history(run, "none"))
    client.log_batch(run, [Metric("many", float(n), MOMENT + n, n) for n in range(1000)])
    call("get_metric_history, 1,000 points", lambda: client.get_metric_history(run, "many"))
    client.log_metric(run, "unordered", 0.5, MOMENT + 1, 2)
    client.log_metric(run, "unordered", 0.75, MOMENT + 2, 1)
    call("get_run, out of order", lambda: client.get_run(run).data.metrics["unordered"])
    client.log_metric(run, "infinite", float("inf"), MOMENT, 0)
    call("get_metric_history, infinite", lambda: client.get_metric_history(run, "infinite"))
    client.log_metric(run, "repeated", 1.0, MOMENT, 3)
    client.log_metric(run, "repeated", 1.0, MOMENT, 3)
    call("get_metric_history, repeated", lambda: client.get_metric_history(run, "repeated"))
    client.log_metric(run, "same step", 1.0, MOMENT, 3)
    client.log_metric(run, "same step", 2.0, MOMENT + 1, 3)
    call("get_metric_history, same step", lambda: client.get_metric_history(run, "same step"))
    client.log_metric(run, "early", 1.0, MOMENT, 8)
    client.log_metric(run, "late", 1.0, MOMENT + 1, 8)
    call("get_metric_history, same step, earlier", lambda: client.get_metric_history(run, "early"))
    for number in range(5):
        client.log_metric(run, "no step", number, MOMENT + number)
    call("get_metric_history, no step", lambda: client.get_metric_history(run, "no step"))
    client.log_metric(run, "unordered times", 2.0, MOMENT + 2, 1)
    client.log_metric(run, "unordered times", 1.0, MOMENT + 1, 2)
    call(
        "get_metric_history, unordered times",
        lambda: client.get_metric_history(run, "unordered times"),
    )
    same = [Metric("same time", value, MOMENT, 3) for value in (0.5, 0.25, 0.5)]
    client.log_batch(run, same)
    call("get_metric_history, same time", lambda: client.get_metric_history(run, "same time"))
    call("get_run, newest values", lambda: client.get_run(run).data.metrics)
    call("log_metric, negative step", lambda: client.log_metric(run, "neg", 1.0, MOMENT, -1))
    call("log_metric, long name", lambda: client.log_metric(run, "n" * 251, 1.0))
    call("log_metric, unknown run", lambda: client.log_metric("f" * 32, "loss", 1.0))
    client.delete_run(run)


FILTERS = [
    "", "metrics.loss < 0.5", "metrics.loss >= 0.25 and metrics.loss != 0.25",
    "metrics.`val loss` = 1", "metrics.none > 0", "params.lr = '0.1'", "params.lr != '0.1'",
    "params.lr LIKE '0.%'", "tags.stage ILIKE 'A'", "tags.stage LIKE 'A'", "tags.stage = \"b\"",
    "attributes.status = 'FINISHED'", "status != 'FINISHED'", "run_name = 'a'",
    "attributes.run_name LIKE '_'", f"start_time > {MOMENT + 1}", f"start_time = {MOMENT + 1}",
    f"end_time <= {MOMENT + 9}", "dataset.name = 'digits'", "dataset.context IN ('training')",
    "params.lr IS NULL", "tags.stage IS NOT NULL", "user_id = 'ada'",
    # Refused.
    "metrics.loss", "metrics.loss < 'a'", "params.lr = 0.1", "nothing = 'a'",
    "metrics.loss < 1 OR 1", "run_id IN ('a'", "metrics.loss LIKE 'a'", "; DROP TABLE runs",
    "params.lr > '0.1'",
]  # fmt: skip
ORDERS = [
    "metrics.loss", "metrics.loss DESC", "params.lr DESC", "tags.stage ASC", "start_time ASC",
    "attributes.end_time DESC", "status", "run_name DESC", "metrics.loss UP", "nothing",
]  # fmt: skip


def searches(recorder: Recorder, client: MlflowClient, experiment: str) -> None:
    call = recorder.call
    found = [new_run(recorder, client, experiment, name, at) for at, name in enumerate("abc")]
    for number, run in enumerate(found[:2]):
        client.log_batch(
            run,
            [Metric("loss", 0.5 - number / 4, MOMENT, 1), Metric("val loss", number, MOMENT, 1)],
            [Param("lr", f"0.{number}")],
        )
    dataset = Dataset("digits", "d1", "code", "{}", "{}", "{}")
    client.log_inputs(
        found[0], [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
    )
    client.set_terminated(found[1], "FINISHED", MOMENT + 9)

    def names(query: str = "", order: list[str] | None = None, **more: Any) -> list[str]:
        page = client.search_runs([experiment], query, order_by=order, **more)
        return [run.info.run_name for run in page]

    for query in FILTERS:
        call(f"search_runs, filter {query}", lambda: names(query))  # noqa: B023
    for order in ORDERS:
        call(f"search_runs, order {order}", lambda: names("", [order]))  # noqa: B023
    call("search_runs, complete", lambda: list(client.search_runs([experiment])))
    call("search_runs, deleted", lambda: len(names(run_view_type=ViewType.DELETED_ONLY)))
    call("search_runs, all", lambda: len(names(run_view_type=ViewType.ALL)))
    call("search_runs, no experiment", lambda: list(client.search_runs([])))
    call("search_runs, unknown experiment", lambda: list(client.search_runs(["987654321"])))
    pages, token = [], None
    for _ in range(3):
        page = client.search_runs([experiment], max_results=2, page_token=token)
        pages.append([run.info.run_name for run in page])
        token = page.token
        if not token:
            break
    call("search_runs, pages", lambda: pages)
    call("search_runs, invalid token", lambda: names(page_token="x"))


def artifacts(recorder: Recorder, client: MlflowClient, experiment: str) -> None:
    call = recorder.call
    run = new_run(recorder, client, experiment, "artifacts", 5)
    call("log_text", lambda: client.log_text(run, "hello", "d/e/t.txt"))
    call("log_dict", lambda: client.log_dict(run, {"a": 1}, "d/a.json"))
    call("list_artifacts", lambda: client.list_artifacts(run))
    call("list_artifacts, folder", lambda: client.list_artifacts(run, "d"))
    call("list_artifacts, file", lambda: client.list_artifacts(run, "d/a.json"))
    call("list_artifacts, unknown", lambda: client.list_artifacts(run, "none"))
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "sub" / "big.bin"
        big.parent.mkdir()
        big.write_bytes(os.urandom(3_000_000))
        call("log_artifact", lambda: client.log_artifact(run, str(big)))
        call("log_artifacts", lambda: client.log_artifacts(run, folder, "all"))
        call("list_artifacts, uploaded folder", lambda: client.list_artifacts(run, "all"))
        copy = client.download_artifacts(run, "all/sub/big.bin", folder)
        call("download_artifacts", lambda: Path(copy).read_bytes() == big.read_bytes())
        whole = Path(client.download_artifacts(run, "", folder))
        call("download_artifacts, all", lambda: sorted(
            str(path.relative_to(whole)) for path in whole.glob("d/**/*") if path.is_file()
        ))  # fmt: skip
    uri = f"{client.get_run(run).info.artifact_uri}/d/e/t.txt"
    call("load_text", lambda: mlflow.artifacts.load_text(uri))
    client.delete_run(run)


def models(recorder: Recorder, client: MlflowClient, experiment: str, name: str) -> None:
    call = recorder.call
    run = new_run(recorder, client, experiment, "models", 6)
    has_logged_models = hasattr(client, "create_logged_model")  # from MLflow 3 on
    source, more = f"{client.get_run(run).info.artifact_uri}/net", {}
    if has_logged_models:
        model = logged_models(recorder, client, experiment, run)
        source, more = f"models:/{model}", {"model_id": model}
    call("create_registered_model", lambda: client.create_registered_model(
        name, {"a": "b"}, "A model."
    ))  # fmt: skip
    call("create_registered_model, again", lambda: client.create_registered_model(name))
    for number in range(2):
        call(f"create_model_version, {number + 1}", lambda: client.create_model_version(
            name, source, run_id=run, tags={"n": "1"}, description="d", **more
        ))  # fmt: skip
    call("set_registered_model_alias", lambda: client.set_registered_model_alias(name, "best", "1"))
    call("get_model_version_by_alias", lambda: client.get_model_version_by_alias(name, "best"))
    call("get_model_version_by_alias, unknown",
         lambda: client.get_model_version_by_alias(name, "none"))  # fmt: skip
    call("get_registered_model", lambda: client.get_registered_model(name))
    call("get_registered_model, unknown", lambda: client.get_registered_model(f"{name}-none"))
    call("get_model_version", lambda: client.get_model_version(name, "2"))
    call("get_model_version, unknown", lambda: client.get_model_version(name, "7"))
    call("get_model_version_download_uri",
         lambda: client.get_model_version_download_uri(name, "1"))  # fmt: skip
    call("update_model_version", lambda: client.update_model_version(name, "1", "better"))
    call("set_model_version_tag", lambda: client.set_model_version_tag(name, "1", "x", "y"))
    call("delete_model_version_tag", lambda: client.delete_model_version_tag(name, "1", "n"))
    call("search_model_versions", lambda: [
        one.version for one in client.search_model_versions(f"name = '{name}'")
    ])  # fmt: skip
    call("search_registered_models", lambda: [
        one.name for one in client.search_registered_models(f"name = '{name}'")
    ])  # fmt: skip
    call("update_registered_model", lambda: client.update_registered_model(name, "Better."))
    call("set_registered_model_tag", lambda: client.set_registered_model_tag(name, "x", "y"))
    call("delete_registered_model_tag", lambda: client.delete_registered_model_tag(name, "a"))
    call("get_registered_model, changed", lambda: client.get_registered_model(name))
    call("delete_model_version", lambda: client.delete_model_version(name, "2"))
    call("delete_registered_model_alias",
         lambda: client.delete_registered_model_alias(name, "best"))  # fmt: skip
    call("delete_registered_model", lambda: client.delete_registered_model(name))
    if has_logged_models:
        call("delete_logged_model", lambda: client.delete_logged_model(model))
        call("get_logged_model, deleted", lambda: client.get_logged_model(model))
    client.delete_run(run)


def logged_models(recorder: Recorder, client: MlflowClient, experiment: str, run: str) -> str:
    call = recorder.call
    created = client.create_logged_model(experiment, "net", run, {"a": "b"}, {"lr": "0.1"}, "agent")
    model = recorder.name(created.model_id, "model")
    call("create_logged_model", lambda: created)
    call("log_model_params", lambda: client.log_model_params(model, {"layers": "3"}))
    call("set_logged_model_tags", lambda: client.set_logged_model_tags(model, {"c": "d"}))
    call("delete_logged_model_tag", lambda: client.delete_logged_model_tag(model, "a"))
    call("finalize_logged_model", lambda: client.finalize_logged_model(model, "READY"))
    call("get_logged_model", lambda: client.get_logged_model(model))
    call("get_logged_model, unknown", lambda: client.get_logged_model("m-" + "f" * 32))
    for query in ("name = 'net'", f"source_run_id = '{run}'", "params.lr = '0.1'", "name = 'x'"):
        call(
            f"search_logged_models, {query.replace(run, 'run')}",
            lambda: list(client.search_logged_models([experiment], query)),  # noqa: B023
        )
    return model


def fluent(recorder: Recorder, client: MlflowClient, name: str) -> None:
    """As scripts call it."""
    recorder.name(mlflow.set_experiment(name).experiment_id, "fluent experiment")
    with mlflow.start_run(run_name="outer", tags={"k": "v"}, description="text") as outer:
        recorder.name(outer.info.run_id, "outer")
        mlflow.log_params({"lr": 0.1, "layers": [1, 2], "flag": True, "none": None})
        mlflow.log_metrics({"loss": 0.5, "accuracy": 1}, step=1)
        mlflow.set_tags({"a": 1})
        mlflow.log_text("hello", "a.txt")
        with mlflow.start_run(run_name="inner", nested=True) as inner:
            recorder.name(inner.info.run_id, "inner")
            mlflow.log_metric("loss", 0.25, step=2)
    found = client.get_run(outer.info.run_id)
    tags = {key: one for key, one in found.data.tags.items() if not key.startswith("mlflow.source")}
    recorder.call("fluent run", lambda: [
        found.info.status, found.data.params, found.data.metrics, tags,
    ])  # fmt: skip
    parent = client.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"]
    recorder.call("fluent nested run", lambda: parent)
    recorder.call("fluent search", lambda: sorted(
        run.info.run_name for run in mlflow.search_runs(output_format="list")
    ))  # fmt: skip


if __name__ == "__main__":
    main()
