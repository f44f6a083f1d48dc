"""Runs of MLflow clients are reported jobs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.db.models.functions import Now
from django.test import Client

from tests.integration.training.mlflow.conftest import MlflowClient
from training.accounts.tokens import create_token
from training.jobs import lifecycle, reports
from training.jobs.attempts import Attempt
from training.jobs.chart_series import metrics_json
from training.mlflow import messages as m
from training.mlflow import recording
from training.models import Job, MlflowRun
from training.models.states import Status
from training.points import compaction

MOMENT = 1_700_000_000_123


def metric(key: str, value: Any, step: int = 0, timestamp: int = MOMENT) -> dict[str, Any]:
    return {"key": key, "value": value, "step": step, "timestamp": timestamp}


def history(mlflow: MlflowClient, run_id: str, key: str) -> list[tuple[Any, ...]]:
    query = {"run_id": run_id, "metric_key": key}
    found = mlflow.get("metrics/get-history", query)["metrics"]
    return [(one["step"], one["value"], one["timestamp"]) for one in found]


def test_request_that_django_refuses_is_an_error_of_mlflow(mlflow: MlflowClient) -> None:
    found = mlflow.get("runs/get?run_id=a%00b", {}, status=400)
    assert found["error_code"] == "INVALID_PARAMETER_VALUE"
    assert found["message"].startswith("The URL contains")


def test_run_is_a_running_reported_job(ada: User, mlflow: MlflowClient) -> None:
    tags = [{"key": "mlflow.note.content", "value": "note"}, {"key": "stage", "value": "dev"},
            {"key": "mlflow.source.name", "value": "train.py"}]  # fmt: skip
    run_id = mlflow.create_run("first", start_time=MOMENT, tags=tags)
    job = Job.objects.get(pk=run_id)
    assert (job.owner, job.status, job.reported) == (ada, Status.RUNNING, True)
    assert (job.name, job.notes, job.tags) == ("first", "note", ["stage: dev"])
    run = mlflow.run(run_id)
    assert run["info"] == {
        "run_uuid": run_id, "run_id": run_id, "experiment_id": "0", "run_name": "first",
        "user_id": "ada", "status": "RUNNING", "start_time": MOMENT, "lifecycle_stage": "active",
        "artifact_uri": f"mlflow-artifacts:/0/{run_id}/artifacts",
    }  # fmt: skip
    found = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert found == {"mlflow.note.content": "note", "stage": "dev", "mlflow.runName": "first",
                     "mlflow.source.name": "train.py"}  # fmt: skip


def test_nested_run_has_its_parent(mlflow: MlflowClient) -> None:
    parent = mlflow.create_run()
    tags = [{"key": "mlflow.parentRunId", "value": parent}]
    child = Job.objects.get(pk=mlflow.create_run("child", tags=tags))
    assert child.parent_id is not None and child.parent_id.hex == parent


def test_metrics_are_points_of_the_job(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("loss", 0.5, 3)})
    values = [metric("loss", 0.25, 4, MOMENT + 5), metric("accuracy", 1, 4, MOMENT + 5)]
    mlflow.post("runs/log-batch", {"run_id": run_id, "metrics": values})
    assert history(mlflow, run_id, "loss") == [(3, 0.5, MOMENT), (4, 0.25, MOMENT + 5)]
    found = metrics_json(Job.objects.get(pk=run_id), ["loss", "accuracy"], 100)
    assert found["step"] == [3, 4]
    assert found["series"] == {"loss": [0.5, 0.25], "accuracy": [None, 1.0]}


def test_newest_value_of_a_metric_has_its_own_time_and_step(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("lr", 0.1, 0)})
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("loss", 0.5, 9, MOMENT + 90)})
    assert mlflow.run(run_id)["data"]["metrics"] == [
        metric("lr", 0.1, 0), metric("loss", 0.5, 9, MOMENT + 90),
    ]  # fmt: skip


def test_non_finite_values_are_strings(mlflow: MlflowClient) -> None:
    run_id, values = mlflow.create_run(), ["NaN", "Infinity", "-Infinity"]
    rows = [metric("loss", value, step) for step, value in enumerate(values)]
    mlflow.post("runs/log-batch", {"run_id": run_id, "metrics": rows})
    assert [value for _, value, _ in history(mlflow, run_id, "loss")] == values


def test_repeated_batch_changes_nothing(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    batch = {"run_id": run_id, "metrics": [metric("loss", 0.5, 1)],
             "params": [{"key": "lr", "value": "0.1"}],
             "tags": [{"key": "a", "value": "b"}]}  # fmt: skip
    mlflow.post("runs/log-batch", batch)
    once = mlflow.run(run_id)
    mlflow.post("runs/log-batch", batch)
    assert mlflow.run(run_id) == once
    assert history(mlflow, run_id, "loss") == [(1, 0.5, MOMENT)]


def test_values_without_a_step_are_all_in_the_history(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    for number in range(4):
        value = {"key": "loss", "value": 0.5**number, "timestamp": MOMENT + number}
        mlflow.post("runs/log-metric", {"run_id": run_id, **value})
    expected = [(0, 0.5**number, MOMENT + number) for number in range(4)]
    assert history(mlflow, run_id, "loss") == expected
    assert mlflow.run(run_id)["data"]["metrics"] == [metric("loss", 0.125, 0, MOMENT + 3)]
    pages, token = [], ""
    for _ in range(2):
        query = {"run_id": run_id, "metric_key": "loss", "max_results": 3, "page_token": token}
        found = mlflow.get("metrics/get-history", query)
        pages.append([one["value"] for one in found["metrics"]])
        token = found.get("next_page_token", "")
    assert pages == [[1.0, 0.5, 0.25], [0.125]] and not token


def test_repeated_value_is_stored_once(mlflow: MlflowClient) -> None:
    """The client repeats a request that was answered with 5xx, though it may have been applied."""
    run_id = mlflow.create_run()
    first, second = metric("loss", "NaN"), metric("loss", 0.25, 0, MOMENT + 7)
    for one in (first, first, second, first, second):
        mlflow.post("runs/log-metric", {"run_id": run_id, **one})
        assert compaction.compact(UUID(run_id))
    mlflow.post("runs/log-metric", {"run_id": run_id, **first})
    assert history(mlflow, run_id, "loss") == [(0, "NaN", MOMENT), (0, 0.25, MOMENT + 7)]


def test_history_has_the_time_of_each_value(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    for at, key in enumerate(("loss", "accuracy", "loss")):
        mlflow.post("runs/log-metric", {"run_id": run_id, **metric(key, at, 8, MOMENT + at)})
    for _ in range(2):
        assert history(mlflow, run_id, "loss") == [(8, 0.0, MOMENT), (8, 2.0, MOMENT + 2)]
        assert history(mlflow, run_id, "accuracy") == [(8, 1.0, MOMENT + 1)]
        assert compaction.compact(UUID(run_id))


def test_history_is_ordered_by_time_then_step_and_value(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    rows = [metric("loss", 3.0, 9), metric("loss", 2.0, 1, MOMENT + 5), metric("loss", 1.0, 9)]
    mlflow.post("runs/log-batch", {"run_id": run_id, "metrics": rows})
    assert history(mlflow, run_id, "loss") == [
        (9, 1.0, MOMENT), (9, 3.0, MOMENT), (1, 2.0, MOMENT + 5),
    ]  # fmt: skip


def test_parameters_are_the_configuration(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    mlflow.post("runs/log-parameter", {"run_id": run_id, "key": "lr", "value": "0.1"})
    assert Job.objects.get(pk=run_id).config == {"lr": "0.1"}
    assert mlflow.run(run_id)["data"]["params"] == [{"key": "lr", "value": "0.1"}]


def test_changed_parameter_is_refused_with_all_of_its_batch(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    mlflow.post("runs/log-parameter", {"run_id": run_id, "key": "lr", "value": "0.1"})
    batch = {"run_id": run_id, "metrics": [metric("loss", 1)],
             "params": [{"key": "lr", "value": "0.2"}]}  # fmt: skip
    found = mlflow.post("runs/log-batch", batch, 400)
    assert found["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "Changing param values is not allowed" in found["message"]
    assert mlflow.run(run_id)["data"]["metrics"] == []


def test_tag_is_a_label_until_it_is_deleted(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    for value in ("dev", "prod"):
        mlflow.post("runs/set-tag", {"run_id": run_id, "key": "stage", "value": value})
    assert Job.objects.get(pk=run_id).tags == ["stage: prod"]
    mlflow.post("runs/delete-tag", {"run_id": run_id, "key": "stage"})
    assert Job.objects.get(pk=run_id).tags == []
    found = mlflow.post("runs/delete-tag", {"run_id": run_id, "key": "stage"}, 404)
    assert found["error_code"] == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    ("status", "expected"),
    [("FINISHED", "completed"), ("FAILED", "failed"), ("KILLED", "cancelled")],
)
def test_update_ends_the_job(mlflow: MlflowClient, status: str, expected: str) -> None:
    run_id = mlflow.create_run()
    body = {"run_id": run_id, "status": status, "end_time": MOMENT}
    for _ in range(2):
        info = mlflow.post("runs/update", body)["run_info"]
        assert (info["status"], info["end_time"]) == (status, MOMENT)
    assert Job.objects.get(pk=run_id).status == expected


def test_failed_run_is_continued_and_a_finished_one_is_not(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    shown = [
        mlflow.post("runs/update", {"run_id": run_id, "status": status})["run_info"]["status"]
        for status in ("FAILED", "RUNNING", "FINISHED", "RUNNING")
    ]
    assert shown == ["FAILED", "RUNNING", "FINISHED", "FINISHED"]


def test_failed_run_is_finished_although_the_user_is_at_the_limit(
    mlflow: MlflowClient, settings: Any
) -> None:
    """It runs for no moment in between."""
    run_id = mlflow.create_run("r")
    mlflow.post("runs/update", {"run_id": run_id, "status": "FAILED"})
    settings.USER_LIMITS = {**settings.USER_LIMITS, "reported_jobs": 0}
    mlflow.post("runs/update", {"run_id": run_id, "status": "RUNNING"}, status=409)
    answer = mlflow.post("runs/update", {"run_id": run_id, "status": "FINISHED"})
    assert answer["run_info"]["status"] == "FINISHED"
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("late", 1.0)})
    assert history(mlflow, run_id, "late") == [(0, 1.0, MOMENT)]


def test_renamed_run_is_a_renamed_job(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    mlflow.post("runs/update", {"run_id": run_id, "run_name": "second"})
    mlflow.post("runs/set-tag", {"run_id": run_id, "key": "mlflow.runName", "value": "third"})
    assert Job.objects.get(pk=run_id).name == "third"


def test_client_without_heartbeats_has_a_longer_silence_limit(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    for hours, status in ((1, Status.RUNNING), (25, Status.FAILED)):
        Job.objects.filter(pk=run_id).update(heartbeat_at=Now() - timedelta(hours=hours))
        reports.end_silent("maintenance")
        assert Job.objects.get(pk=run_id).status == status
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("loss", 1.0)})
    assert Job.objects.get(pk=run_id).status == Status.RUNNING


def test_deleted_run_rejects_values_until_it_is_restored(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    mlflow.post("runs/delete", {"run_id": run_id})
    assert mlflow.run(run_id)["info"]["lifecycle_stage"] == "deleted"
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("loss", 1.0)}, 400)
    mlflow.post("runs/restore", {"run_id": run_id})
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("loss", 1.0)})


@pytest.mark.parametrize(
    "values",
    [metric("loss", "high"), metric("loss", 1.0, -1), metric("", 1.0), metric("a\x00", 1.0),
     {"key": "loss", "value": 1.0}, metric("loss", 1.0, 2**63)],
)  # fmt: skip
def test_invalid_metric_is_refused(mlflow: MlflowClient, values: dict[str, Any]) -> None:
    found = mlflow.post("runs/log-metric", {"run_id": mlflow.create_run(), **values}, 400)
    assert found["error_code"] == "INVALID_PARAMETER_VALUE"


def test_history_of_several_runs_is_evenly_spaced(mlflow: MlflowClient) -> None:
    runs = [mlflow.create_run() for _ in range(2)]
    for run_id in runs:
        rows = [metric("loss", step, step) for step in range(9)]
        mlflow.post("runs/log-batch", {"run_id": run_id, "metrics": rows})
    query = {"run_ids": runs, "metric_key": "loss", "max_results": 3}
    found = mlflow.get("metrics/get-history-bulk-interval", query)["metrics"]
    assert [(one["run_id"], one["step"]) for one in found] == [
        (run_id, step) for run_id in runs for step in (0, 4, 8)
    ]
    query.update(start_step=2, end_step=3)
    found = mlflow.get("metrics/get-history-bulk-interval", query)["metrics"]
    assert [one["step"] for one in found] == [2, 3, 2, 3]


def test_metrics_for_a_job_of_a_worker_do_not_change_its_lease_or_configuration(
    mlflow: MlflowClient, job: Job, running_attempt: Attempt
) -> None:
    Job.objects.filter(pk=job.pk).update(program="own")
    before = Job.objects.get(pk=job.pk)
    batch = {"run_id": job.pk.hex, "metrics": [metric("loss", 0.5, 1)],
             "params": [{"key": "new", "value": "1"}]}  # fmt: skip
    mlflow.post("runs/log-batch", batch)
    mlflow.post("runs/update", {"run_id": job.pk.hex, "status": "FINISHED"})
    after = Job.objects.get(pk=job.pk)
    assert (after.status, after.lease_expires_at, after.config) == (
        Status.RUNNING, before.lease_expires_at, before.config,
    )  # fmt: skip
    assert history(mlflow, job.pk.hex, "loss") == [(1, 0.5, MOMENT)]
    params = {one["key"]: one["value"] for one in mlflow.run(job.pk.hex)["data"]["params"]}
    assert (params["new"], params["epochs"]) == ("1", "5")


def test_metric_for_a_job_that_no_worker_runs_is_rejected(mlflow: MlflowClient, job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(program="own")
    lifecycle.request_cancel(job, "ada")
    mlflow.post("runs/log-metric", {"run_id": job.pk.hex, **metric("loss", 1.0)}, 400)


@pytest.mark.usefixtures("running_attempt")
def test_metric_for_a_localization_job_is_rejected(mlflow: MlflowClient, job: Job) -> None:
    mlflow.post("runs/log-metric", {"run_id": job.pk.hex, **metric("loss", 1.0)}, 400)
    assert not Job.objects.get(pk=job.pk).has_points


def test_run_of_another_user_does_not_exist(
    bob: User, mlflow: MlflowClient, mlflow_of: Callable[..., MlflowClient]
) -> None:
    run_id, other = mlflow.create_run(), mlflow_of(bob)
    assert other.get("runs/get", {"run_id": run_id}, 404)["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    other.post("runs/log-metric", {"run_id": run_id, **metric("loss", 1.0)}, 404)


def test_run_and_model_of_a_teammate_are_not_deleted(
    ada: User, bob: User, mlflow: MlflowClient, mlflow_of: Callable[..., MlflowClient]
) -> None:
    """Like jobs, which a team sees and controls, and only their owner deletes."""
    team = Group.objects.create(name="radio")
    for user in (ada, bob):
        user.groups.add(team)
    run_id, other = mlflow.create_run(), mlflow_of(bob)
    model = mlflow.post("logged-models", {"name": "m", "source_run_id": run_id})["model"]
    Job.objects.update(team=team)
    assert other.get("runs/get", {"run_id": run_id})
    for stage in ("delete", "restore"):
        found = other.post(f"runs/{stage}", {"run_id": run_id}, 403)
        assert found["error_code"] == "PERMISSION_DENIED"
    path = f"/api/2.0/mlflow/logged-models/{model['info']['model_id']}"
    assert other.client.delete(path).status_code == 403
    assert mlflow.client.delete(path).status_code == 200
    mlflow.post("runs/delete", {"run_id": run_id})


def test_token_needs_the_scope_report_to_write(
    ada: User, mlflow_of: Callable[..., MlflowClient]
) -> None:
    reader = mlflow_of(ada, ("read",))
    found = reader.post("runs/create", {}, 403)
    assert found["error_code"] == "PERMISSION_DENIED" and "'report'" in found["message"]
    reader.get("experiments/get", {"experiment_id": "0"})


@pytest.mark.django_db
def test_token_is_required_and_may_be_a_password(client: Client, ada: User) -> None:
    url = "/api/2.0/mlflow/experiments/get"
    found = client.get(url, {"experiment_id": "0"})
    assert (found.status_code, found.json()["error_code"]) == (401, "UNAUTHENTICATED")
    for password, status in ((create_token(ada)[1], 200), ("wrong", 401)):
        credentials = base64.b64encode(f"ada:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"}
        assert client.get(url, {"experiment_id": "0"}, headers=headers).status_code == status


def test_session_does_not_authenticate_mlflow_requests(page: Client) -> None:
    assert page.get("/api/2.0/mlflow/experiments/get?experiment_id=0").status_code == 401


def test_body_that_is_not_an_object_is_refused(mlflow: MlflowClient) -> None:
    answer = mlflow.client.post("/api/2.0/mlflow/runs/create", "[]", "application/json")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    answer = mlflow.client.post("/api/2.0/mlflow/runs/create", "{", "application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize("rest", ["a", ""])
def test_name_of_invisible_characters_is_no_name(mlflow: MlflowClient, rest: str) -> None:
    name = "\u200b" * 200 + rest
    run_id = mlflow.create_run(name)
    mlflow.post("runs/set-tag", {"run_id": run_id, "key": "mlflow.runName", "value": name})
    assert Job.objects.get().name == ""


def test_notes_have_their_length_after_normalization(mlflow: MlflowClient) -> None:
    note = {"key": "mlflow.note.content", "value": "\U0001d160" * 8000}
    run_id = mlflow.create_run(tags=[note])
    assert len(Job.objects.get().notes) == 20_000
    mlflow.post("runs/set-tag", {"run_id": run_id, **note})
    assert len(Job.objects.get().notes) == 20_000


def test_inputs_added_meanwhile_are_kept(
    mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, add_params = mlflow.create_run(), recording._add_params

    def add_meanwhile(job: Job, *arguments: Any) -> dict[str, Any]:
        rows = MlflowRun.objects.filter(job=job)
        rows.update(model_inputs=[{"model_id": "m"}], deleted_at=Now())
        return add_params(job, *arguments)

    monkeypatch.setattr(recording, "_add_params", add_meanwhile)
    mlflow.post("runs/set-tag", {"run_id": run_id, "key": "a", "value": "b"})
    row = MlflowRun.objects.get()
    assert (row.tags, row.model_inputs) == ({"a": "b"}, [{"model_id": "m"}])
    assert row.deleted_at


def test_history_has_pages_of_a_limited_size(
    mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(m, "MAX_POINTS", 2)
    run_id = mlflow.create_run()
    for step in range(3):
        mlflow.post("runs/log-metric", {"run_id": run_id, **metric("loss", 1, step)})
    query = {"run_id": run_id, "metric_key": "loss", "max_results": 25_000}
    page = mlflow.get("metrics/get-history", query)
    assert [one["step"] for one in page["metrics"]] == [0, 1]
    page = mlflow.get("metrics/get-history", {**query, "page_token": page["next_page_token"]})
    assert [one["step"] for one in page["metrics"]] == [2] and "next_page_token" not in page


def test_history_of_a_repeated_run_is_sent_once(mlflow: MlflowClient) -> None:
    run_id = mlflow.create_run()
    mlflow.post("runs/log-metric", {"run_id": run_id, **metric("loss", 1)})
    query: dict[str, Any] = {"run_ids": [run_id] * 100, "metric_key": "loss", "max_results": 2500}
    assert len(mlflow.get("metrics/get-history-bulk-interval", query)["metrics"]) == 1
    query["max_results"] = 2501
    found = mlflow.get("metrics/get-history-bulk-interval", query, status=400)
    assert found["error_code"] == "INVALID_PARAMETER_VALUE"
