"""Logged models and the registry, as `log_model(registered_model_name=…)` uses them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from tests.integration.training.mlflow.conftest import Json, MlflowClient
from tests.integration.training.mlflow.test_artifacts import ROOT, listed, put
from training.models import Job, LoggedModel
from training.models.states import Status


def create_model(mlflow: MlflowClient, run_id: str = "", **more: object) -> Json:
    body = {"experiment_id": "0", "name": "model", "source_run_id": run_id, **more}
    return dict(mlflow.post("logged-models", body)["model"])


def register(mlflow: MlflowClient, name: str = "reg", **more: object) -> Json:
    source = {"name": name, "source": "models:/m-1", **more}
    return dict(mlflow.post("model-versions/create", source)["model_version"])


def names(page: Json, key: str) -> list[str]:
    return [one.get("name") or one["info"]["name"] for one in page[key]]


@pytest.fixture
def model_id(mlflow: MlflowClient) -> str:
    return str(create_model(mlflow, mlflow.create_run())["info"]["model_id"])


@pytest.fixture
def registered(mlflow: MlflowClient) -> str:
    mlflow.post("registered-models/create", {"name": "reg", "description": "d"})
    return "reg"


def patch(mlflow: MlflowClient, path: str, body: Json, status: int = 200) -> Json:
    answer = mlflow.client.patch(f"/api/2.0/mlflow/{path}", body, "application/json")
    assert answer.status_code == status, answer.content
    return dict(answer.json())


def delete(mlflow: MlflowClient, path: str, body: Json, status: int = 200) -> Json:
    answer = mlflow.client.delete(f"/api/2.0/mlflow/{path}", body, "application/json")
    assert answer.status_code == status, answer.content
    return dict(answer.json())


def test_logged_model_becomes_ready(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    tags = [{"key": "b", "value": "2"}, {"key": "a", "value": "1"}]
    params = [{"key": "lr", "value": "0.1"}]
    model = create_model(mlflow, run_id, tags=tags, params=params, model_type="agent")
    info, model_id = model["info"], model["info"]["model_id"]
    assert (info["status"], info["source_run_id"]) == ("LOGGED_MODEL_PENDING", run_id)
    assert info["artifact_uri"] == f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    assert info["tags"] == sorted(tags, key=lambda tag: tag["key"])
    assert model["data"] == {"params": params}
    ready = {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
    found = patch(mlflow, f"logged-models/{model_id}", ready)["model"]
    assert found["info"]["status"] == "LOGGED_MODEL_READY"
    assert mlflow.get(f"logged-models/{model_id}", {})["model"] == found


def test_files_of_a_model_are_artifacts_of_its_job(mlflow: MlflowClient, model_id: str) -> None:
    url = f"{ROOT}/0/models/{model_id}/artifacts"
    answer = mlflow.client.put(f"{url}/code/a.py", b"hello", "application/octet-stream")
    assert answer.status_code == 200
    assert b"".join(mlflow.client.get(f"{url}/code/a.py")) == b"hello"
    found = mlflow.client.get(ROOT, {"path": f"0/models/{model_id}/artifacts/code"}).json()
    assert found["files"] == [{"path": "a.py", "is_dir": False, "file_size": 5}]
    found = mlflow.get(f"logged-models/{model_id}/artifacts/directories", {})
    assert found["files"] == [{"path": "code", "is_dir": True}]
    run_id = LoggedModel.objects.get(pk=model_id).job_id.hex
    assert listed(mlflow, run_id) == []
    assert put(mlflow, run_id, f"mlflow-models/{model_id}/b.py", b"x") == 400


def test_model_without_a_run_has_a_job_that_ends_with_it(mlflow: MlflowClient) -> None:
    model = create_model(mlflow)["info"]
    job = Job.objects.get()
    assert ("source_run_id" in model, job.status) == (False, Status.RUNNING)
    patch(mlflow, f"logged-models/{model['model_id']}", {"status": "LOGGED_MODEL_READY"})
    job.refresh_from_db()
    assert job.status == Status.COMPLETED


def test_parameters_and_tags_of_a_model_change(mlflow: MlflowClient, model_id: str) -> None:
    path = f"logged-models/{model_id}"
    mlflow.post(f"{path}/params", {"params": [{"key": "lr", "value": "0.1"}]})
    patch(mlflow, f"{path}/tags", {"tags": [{"key": "a", "value": "b"}]})
    found = mlflow.get(path, {})["model"]
    assert found["data"]["params"] == [{"key": "lr", "value": "0.1"}]
    assert found["info"]["tags"] == [{"key": "a", "value": "b"}]
    delete(mlflow, f"{path}/tags/a", {})
    delete(mlflow, f"{path}/tags/a", {}, 404)
    delete(mlflow, path, {})
    assert mlflow.get(path, {}, 404)["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_models_are_found_by_filter_and_order(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    for name in "ab":
        create_model(mlflow, run_id, name=name, params=[{"key": "lr", "value": name}])

    def found(**body: object) -> list[str]:
        page = mlflow.post("logged-models/search", {"experiment_ids": ["0"], **body})
        return names(page, "models")

    assert found() == ["b", "a"]
    assert found(order_by=[{"field_name": "name", "ascending": True}]) == ["a", "b"]
    assert found(filter="name = 'a'") == ["a"]
    assert found(filter=f"source_run_id = '{run_id}' AND params.lr != 'a'") == ["b"]
    assert found(filter="status = 'READY'") == []
    assert found(experiment_ids=["17"]) == []
    assert found(max_results=1) == ["b"]


def test_models_of_others_do_not_exist(
    bob: User, model_id: str, registered: str, mlflow_of: Callable[..., MlflowClient]
) -> None:
    other = mlflow_of(bob)
    other.get(f"logged-models/{model_id}", {}, 404)
    assert other.client.get(f"{ROOT}/0/models/{model_id}/artifacts/a.py").status_code == 404
    assert other.post("logged-models/search", {"experiment_ids": ["0"]})["models"] == []
    other.get("registered-models/get", {"name": registered}, 404)
    other.post("registered-models/create", {"name": registered})


def test_versions_count_from_one(mlflow: MlflowClient, model_id: str, registered: str) -> None:
    versions = [register(mlflow, source=f"models:/{model_id}", model_id=model_id) for _ in range(2)]
    assert [one["version"] for one in versions] == ["1", "2"]
    run_id = LoggedModel.objects.get(pk=model_id).job_id.hex
    assert {key: versions[0][key] for key in ("run_id", "status", "current_stage", "source")} == {
        "run_id": run_id, "status": "READY", "current_stage": "None",
        "source": f"models:/{model_id}",
    }  # fmt: skip
    model = mlflow.get("registered-models/get", {"name": registered})["registered_model"]
    assert [one["version"] for one in model["latest_versions"]] == ["2"]
    uri = mlflow.get("model-versions/get-download-uri", {"name": registered, "version": "1"})
    assert uri == {"artifact_uri": f"mlflow-artifacts:/0/models/{model_id}/artifacts"}
    tags = mlflow.get(f"logged-models/{model_id}", {})["model"]["info"]["tags"]
    assert json.loads(tags[0]["value"]) == [
        {"name": "reg", "version": 1}, {"name": "reg", "version": 2},
    ]  # fmt: skip


def test_alias_resolves_to_a_version(mlflow: MlflowClient, registered: str) -> None:
    register(mlflow)
    alias = {"name": registered, "alias": "champion"}
    mlflow.post("registered-models/alias", {**alias, "version": "2"}, 404)
    mlflow.post("registered-models/alias", {**alias, "version": "1"})
    found = mlflow.get("registered-models/alias", alias)["model_version"]
    assert (found["version"], found["aliases"]) == ("1", ["champion"])
    model = mlflow.get("registered-models/get", {"name": registered})["registered_model"]
    assert model["aliases"] == [{"alias": "champion", "version": "1"}]
    delete(mlflow, "registered-models/alias", alias)
    mlflow.get("registered-models/alias", alias, 400)


def test_deleting_a_version_deletes_its_aliases(mlflow: MlflowClient, registered: str) -> None:
    register(mlflow)
    mlflow.post("registered-models/alias", {"name": registered, "alias": "a", "version": "1"})
    version = {"name": registered, "version": "1"}
    delete(mlflow, "model-versions/delete", version)
    mlflow.get("model-versions/get", version, 404)
    mlflow.get("registered-models/alias", {"name": registered, "alias": "a"}, 400)


def test_registered_model_is_changed_and_found(mlflow: MlflowClient, registered: str) -> None:
    found = mlflow.post("registered-models/create", {"name": registered}, 400)
    assert found["error_code"] == "RESOURCE_ALREADY_EXISTS"
    mlflow.post("registered-models/create", {"name": "other"})
    body = {"name": registered, "new_name": "other"}
    assert mlflow.post("registered-models/rename", body, 400)["error_code"] == (
        "RESOURCE_ALREADY_EXISTS"
    )
    mlflow.post("registered-models/rename", {"name": registered, "new_name": "new"})
    patch(mlflow, "registered-models/update", {"name": "new", "description": "better"})
    mlflow.post("registered-models/set-tag", {"name": "new", "key": "a", "value": "b"})
    query = "tags.a = 'b' AND tag.`mlflow.prompt.is_prompt` != 'true'"  # as the client sends it
    page = mlflow.get("registered-models/search", {"filter": query})
    (model,) = page["registered_models"]
    assert (model["name"], model["description"]) == ("new", "better")
    delete(mlflow, "registered-models/delete-tag", {"name": "new", "key": "a"})
    page = mlflow.get("registered-models/search", {"order_by": ["name DESC"]})
    assert names(page, "registered_models") == ["other", "new"]
    delete(mlflow, "registered-models/delete", {"name": "new"})
    mlflow.get("registered-models/get", {"name": "new"}, 404)


def test_version_is_changed_and_found(mlflow: MlflowClient, registered: str) -> None:
    for _ in range(2):
        register(mlflow)
    version = {"name": registered, "version": "1"}
    patch(mlflow, "model-versions/update", {**version, "description": "first"})
    mlflow.post("model-versions/set-tag", {**version, "key": "a", "value": "b"})
    found = mlflow.get("model-versions/get", version)["model_version"]
    assert (found["description"], found["tags"]) == ("first", [{"key": "a", "value": "b"}])

    def versions(query: str) -> list[str]:
        page = mlflow.get("model-versions/search", {"filter": query})
        return [one["version"] for one in page["model_versions"]]

    assert versions("name = 'reg'") == ["1", "2"]  # the last changed first
    assert versions("version_number > 1") == ["2"]
    assert versions("name IN ('a', 'b')") == []
    delete(mlflow, "model-versions/delete-tag", {**version, "key": "a"})
    assert versions("tags.a = 'b'") == []
    latest = mlflow.post("registered-models/get-latest-versions", {"name": registered})
    assert [one["version"] for one in latest["model_versions"]] == ["2"]


@pytest.mark.parametrize("source", ["/etc", "file:///etc", "http://a.example/x", ""])
def test_version_from_another_place_is_refused(
    mlflow: MlflowClient, registered: str, source: str
) -> None:
    body = {"name": registered, "source": source}
    found = mlflow.post("model-versions/create", body, 400)
    assert found["error_code"] == "INVALID_PARAMETER_VALUE"


def test_unknown_operation_returns_an_mlflow_error(mlflow: MlflowClient) -> None:
    assert mlflow.post("traces/search", {}, 404)["error_code"] == "ENDPOINT_NOT_FOUND"
    assert mlflow.get("runs/create", {}, 405)["error_code"] == "ENDPOINT_NOT_FOUND"


@pytest.mark.parametrize("tag", ["[" * 5000, "[[[1]]]", "{}", "none"])
def test_tag_of_versions_that_a_client_has_set_is_replaced(
    mlflow: MlflowClient, registered: str, model_id: str, tag: str
) -> None:
    tags = {"tags": [{"key": "mlflow.modelVersions", "value": tag}]}
    patch(mlflow, f"logged-models/{model_id}/tags", tags)
    register(mlflow, model_id=model_id)
    found = LoggedModel.objects.get(pk=model_id).tags["mlflow.modelVersions"]
    assert json.loads(found) == [{"name": "reg", "version": 1}]
