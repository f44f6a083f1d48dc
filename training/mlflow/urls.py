"""/api/2.0: the operations that MLflow's clients call."""

from __future__ import annotations

from collections import defaultdict

from django.urls import path, re_path
from django.urls.resolvers import URLPattern

from training.mlflow import (
    artifacts,
    experiments,
    logged_models,
    metric_history,
    registered_models,
    run_search,
    runs,
)
from training.mlflow import messages as m
from training.mlflow import model_messages as mm
from training.mlflow.artifacts import ArtifactView
from training.mlflow.operations import (
    Empty,
    Operation,
    OperationView,
    UnknownOperationView,
    find,
    get,
    write,
)

OPERATIONS = (
    write("mlflow/experiments/create", m.CreateExperiment, experiments.create),
    get("mlflow/experiments/get", m.ExperimentId, experiments.get),
    get("mlflow/experiments/get-by-name", m.GetExperimentByName, experiments.get_by_name),
    find("mlflow/experiments/search", m.SearchExperiments, experiments.search),
    get("mlflow/experiments/search", m.SearchExperiments, experiments.search),
    write("mlflow/experiments/update", m.UpdateExperiment, experiments.update),
    write("mlflow/experiments/delete", m.ExperimentId, experiments.delete),
    write("mlflow/experiments/restore", m.ExperimentId, experiments.restore),
    write("mlflow/experiments/set-experiment-tag", m.SetExperimentTag, experiments.set_tag),
    write(
        "mlflow/experiments/delete-experiment-tag", m.DeleteExperimentTag, experiments.delete_tag
    ),
    write("mlflow/runs/create", m.CreateRun, runs.create),
    get("mlflow/runs/get", m.RunId, runs.get),
    write("mlflow/runs/update", m.UpdateRun, runs.update),
    write("mlflow/runs/delete", m.RunId, runs.delete),
    write("mlflow/runs/restore", m.RunId, runs.restore),
    find("mlflow/runs/search", m.SearchRuns, run_search.search),
    write("mlflow/runs/log-inputs", m.LogInputs, runs.log_inputs),
    write("mlflow/runs/outputs", m.LogOutputs, runs.log_outputs),
    write("mlflow/runs/log-metric", m.LogMetric, runs.log_metric),
    write("mlflow/runs/log-parameter", m.LogParam, runs.log_parameter),
    write("mlflow/runs/log-batch", m.LogBatch, runs.log_batch),
    write("mlflow/runs/set-tag", m.SetTag, runs.set_tag),
    write("mlflow/runs/delete-tag", m.DeleteTag, runs.delete_tag),
    get("mlflow/metrics/get-history", m.GetMetricHistory, metric_history.get_history),
    get(
        "mlflow/metrics/get-history-bulk-interval",
        m.GetMetricHistoryBulk,
        metric_history.get_history_of_runs,
    ),
    write("mlflow/logged-models", mm.CreateLoggedModel, logged_models.create),
    find("mlflow/logged-models/search", mm.SearchLoggedModels, logged_models.search),
    get("mlflow/logged-models/<str:model_id>", mm.LoggedModelId, logged_models.get),
    write(
        "mlflow/logged-models/<str:model_id>",
        mm.FinalizeLoggedModel,
        logged_models.finalize,
        "PATCH",
    ),
    write("mlflow/logged-models/<str:model_id>", mm.LoggedModelId, logged_models.delete, "DELETE"),
    write(
        "mlflow/logged-models/<str:model_id>/params",
        mm.LogLoggedModelParams,
        logged_models.log_params,
    ),
    write(
        "mlflow/logged-models/<str:model_id>/tags",
        mm.SetLoggedModelTags,
        logged_models.set_tags,
        "PATCH",
    ),
    write(
        "mlflow/logged-models/<str:model_id>/tags/<path:tag_key>",
        mm.DeleteLoggedModelTag,
        logged_models.delete_tag,
        "DELETE",
    ),
    get(
        "mlflow/logged-models/<str:model_id>/artifacts/directories",
        mm.ListLoggedModelArtifacts,
        artifacts.list_model,
    ),
    write("mlflow/registered-models/create", mm.CreateRegisteredModel, registered_models.create),
    get("mlflow/registered-models/get", mm.ModelName, registered_models.get),
    get("mlflow/registered-models/search", mm.SearchRegistered, registered_models.search),
    write("mlflow/registered-models/rename", mm.RenameRegisteredModel, registered_models.rename),
    write(
        "mlflow/registered-models/update",
        mm.UpdateRegisteredModel,
        registered_models.update,
        "PATCH",
    ),
    write("mlflow/registered-models/delete", mm.ModelName, registered_models.delete, "DELETE"),
    get(
        "mlflow/registered-models/get-latest-versions",
        mm.ModelName,
        registered_models.latest_versions,
    ),
    find(
        "mlflow/registered-models/get-latest-versions",
        mm.ModelName,
        registered_models.latest_versions,
    ),
    write("mlflow/registered-models/set-tag", mm.SetModelTag, registered_models.set_tag),
    write(
        "mlflow/registered-models/delete-tag",
        mm.DeleteModelTag,
        registered_models.delete_tag,
        "DELETE",
    ),
    write("mlflow/registered-models/alias", mm.SetAlias, registered_models.set_alias),
    get("mlflow/registered-models/alias", mm.AliasName, registered_models.get_by_alias),
    write("mlflow/registered-models/alias", mm.AliasName, registered_models.delete_alias, "DELETE"),
    write("mlflow/model-versions/create", mm.CreateModelVersion, registered_models.create_version),
    get("mlflow/model-versions/get", mm.Version, registered_models.get_version),
    get("mlflow/model-versions/search", mm.SearchRegistered, registered_models.search_versions),
    get("mlflow/model-versions/get-download-uri", mm.Version, registered_models.download_uri),
    write(
        "mlflow/model-versions/update",
        mm.UpdateModelVersion,
        registered_models.update_version,
        "PATCH",
    ),
    write("mlflow/model-versions/delete", mm.Version, registered_models.delete_version, "DELETE"),
    write("mlflow/model-versions/set-tag", mm.SetVersionTag, registered_models.set_version_tag),
    write(
        "mlflow/model-versions/delete-tag",
        mm.DeleteVersionTag,
        registered_models.delete_version_tag,
        "DELETE",
    ),
    get("mlflow/artifacts/list", m.ListArtifacts, artifacts.list_run),
    get("mlflow-artifacts/artifacts", m.ListFolder, artifacts.list_folder),
    write("mlflow-artifacts/mpu/create/<path:path>", Empty, artifacts.refuse_multipart),
)


def _patterns() -> list[URLPattern]:
    by_path: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in OPERATIONS:
        by_path[operation.path][operation.method] = operation
    return [
        path(
            route,
            OperationView.as_view(
                operations=operations, http_method_names=[name.lower() for name in operations]
            ),
        )
        for route, operations in by_path.items()
    ]


urlpatterns = [
    *_patterns(),
    path("mlflow-artifacts/artifacts/<path:path>", ArtifactView.as_view()),
    re_path(r"^mlflow(?:-artifacts)?/", UnknownOperationView.as_view()),
]
