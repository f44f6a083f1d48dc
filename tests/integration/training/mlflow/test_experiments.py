"""Experiments of MLflow clients are projects."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import Group, User

from tests.integration.training.mlflow.conftest import MlflowClient
from training.models import Project


def test_experiment_is_a_project(ada: User, mlflow: MlflowClient) -> None:
    body = {"name": "digits", "tags": [{"key": "a", "value": "b"}]}
    created = mlflow.post("experiments/create", body)["experiment_id"]
    project = Project.objects.get(owner=ada, name="digits")
    assert created == project.pk.hex
    found = mlflow.get("experiments/get-by-name", {"experiment_name": "digits"})["experiment"]
    assert {name: found[name] for name in ("experiment_id", "lifecycle_stage", "tags")} == {
        "experiment_id": created, "lifecycle_stage": "active",
        "tags": [{"key": "a", "value": "b"}],
    }  # fmt: skip
    assert mlflow.get("experiments/get", {"experiment_id": created})["experiment"] == found


def test_unknown_experiment_has_the_code_that_the_client_creates_one_for(
    mlflow: MlflowClient,
) -> None:
    found = mlflow.get("experiments/get-by-name", {"experiment_name": "digits"}, 404)
    assert found["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    for experiment in ("123", "f" * 32):
        found = mlflow.get("experiments/get", {"experiment_id": experiment}, 404)
        assert found["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_second_experiment_of_a_name_is_refused(mlflow: MlflowClient) -> None:
    mlflow.post("experiments/create", {"name": "digits"})
    for name in ("digits", "Default"):
        found = mlflow.post("experiments/create", {"name": name}, 400)
        assert found["error_code"] == "RESOURCE_ALREADY_EXISTS"


def test_default_experiment_has_the_jobs_without_a_project(mlflow: MlflowClient) -> None:
    found = mlflow.get("experiments/get-by-name", {"experiment_name": "Default"})["experiment"]
    assert (found["experiment_id"], found["name"]) == ("0", "Default")
    assert mlflow.run(mlflow.create_run())["info"]["experiment_id"] == "0"


def test_deleted_experiment_is_restored(mlflow: MlflowClient) -> None:
    experiment = mlflow.post("experiments/create", {"name": "digits"})
    stages = []
    for action in ("delete", "restore"):
        mlflow.post(f"experiments/{action}", experiment)
        stages.append(mlflow.get("experiments/get", experiment)["experiment"]["lifecycle_stage"])
    assert stages == ["deleted", "active"]
    assert Project.objects.count() == 1


def test_experiment_is_visible_to_its_team_only(
    ada: User, bob: User, mlflow_of: Callable[..., MlflowClient]
) -> None:
    team = Group.objects.create(name="radio")
    ada.groups.add(team)
    shared = Project.objects.create(owner=ada, name="shared", team=team)
    other = mlflow_of(bob)
    other.get("experiments/get", {"experiment_id": shared.pk.hex}, 404)
    bob.groups.add(team)
    assert other.get("experiments/get-by-name", {"experiment_name": "shared"})
    found = other.post("experiments/delete", {"experiment_id": shared.pk.hex}, 403)
    assert found["error_code"] == "PERMISSION_DENIED"


def test_experiment_tag_is_set_and_deleted(mlflow: MlflowClient) -> None:
    experiment = mlflow.post("experiments/create", {"name": "digits"})
    mlflow.post("experiments/set-experiment-tag", {**experiment, "key": "a", "value": "b"})
    found = mlflow.get("experiments/get", experiment)["experiment"]
    assert found["tags"] == [{"key": "a", "value": "b"}]
    mlflow.post("experiments/delete-experiment-tag", {**experiment, "key": "a"})
    mlflow.post("experiments/delete-experiment-tag", {**experiment, "key": "a"}, 404)


def test_number_of_tags_is_bounded(mlflow: MlflowClient) -> None:
    for path in ("experiments/create", "runs/create", "registered-models/create"):
        refused = mlflow.post(path, {"name": "many", "tags": [{"key": "a"}] * 2000}, 400)
        assert "at most 1000 items" in refused["message"], path
