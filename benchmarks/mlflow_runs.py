"""Runs for searches, inserted directly: the same ones into Heimdall and into MLflow's database.

    python -m benchmarks.mlflow_runs heimdall EXPERIMENT RUNS
    python mlflow_runs.py DATABASE_URL EXPERIMENT RUNS     # with the interpreter of MLflow

Each run has three metrics, three parameters and two tags. How fast a server stores a run is
measured elsewhere.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

MOMENT = 1_700_000_000_000


class Run(NamedTuple):
    run_id: uuid.UUID
    name: str
    started: int  # milliseconds
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def runs(count: int) -> Iterator[Run]:
    for number in range(count):
        name = f"run {number}"
        yield Run(
            uuid.UUID(int=number + 1, version=4),
            name,
            MOMENT + 1000 * number,
            {"loss": (number * 7919 % count) / count, "accuracy": number / count, "epoch": 20.0},
            {"lr": ("0.1", "0.2")[number % 2], "optimizer": "adam", "layers": str(number % 8)},
            {"mlflow.runName": name, "stage": ("dev", "prod")[number % 3 == 0]},
        )


def fill_mlflow(url: str, experiment: str, count: int) -> None:
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import create_engine, insert

    rows: dict[Any, list[dict[str, Any]]] = {
        model: []
        for model in (
            models.SqlRun, models.SqlMetric, models.SqlLatestMetric, models.SqlParam, models.SqlTag,
        )
    }  # fmt: skip
    for run in runs(count):
        run_id = run.run_id.hex
        rows[models.SqlRun].append({
            "run_uuid": run_id, "name": run.name, "source_type": "LOCAL", "source_name": "",
            "entry_point_name": "", "user_id": "ada", "status": "FINISHED", "source_version": "",
            "start_time": run.started, "end_time": run.started + 500, "lifecycle_stage": "active",
            "artifact_uri": f"mlflow-artifacts:/{experiment}/{run_id}/artifacts",
            "experiment_id": int(experiment),
        })  # fmt: skip
        for key, value in run.metrics.items():
            metric = {"run_uuid": run_id, "key": key, "value": value, "timestamp": run.started,
                      "step": 20, "is_nan": False}  # fmt: skip
            rows[models.SqlMetric].append(metric)
            rows[models.SqlLatestMetric].append(metric)
        for model, values in ((models.SqlParam, run.params), (models.SqlTag, run.tags)):
            rows[model] += [
                {"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()
            ]
    with create_engine(url).begin() as connection:
        for model, inserted in rows.items():
            connection.execute(insert(model), inserted)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")


def fill_heimdall(experiment: str, count: int) -> None:
    import django

    django.setup()

    from datetime import UTC, datetime

    from django.contrib.auth.models import User
    from django.db import connection, transaction

    from benchmarks.seed_database import store
    from training.models import Job, MlflowRun, PointIndex
    from training.points.rows import Row
    from training.points.store import append, open_index

    ada = User.objects.get(username="ada")
    jobs: list[Job] = []
    details: list[MlflowRun] = []
    for run in runs(count):
        at = datetime.fromtimestamp(run.started / 1000, UTC)
        jobs.append(Job(
            id=run.run_id, owner=ada, project_id=uuid.UUID(experiment), name=run.name,
            program="reported", reported=True, has_points=True, config=run.params,
            summary=run.metrics, status="completed", attempt=1, seq=2, sent_seq=2,
            created_at=at, started_at=at, finished_at=at, updated_at=at, heartbeat_at=at,
            disk_bytes=0, tags=[f"stage: {run.tags['stage']}"],
        ))  # fmt: skip
        details.append(MlflowRun(job_id=run.run_id, user_id="ada", tags=run.tags))
    with transaction.atomic():
        store(jobs, Job)
        MlflowRun.objects.bulk_create(details, batch_size=1000)
        indexes = []
        for run in runs(count):
            index = open_index(run.run_id)
            append(index, [Row(20, run.started / 1000, None, run.metrics)])
            indexes.append(index)
        PointIndex.objects.bulk_create(indexes, batch_size=1000)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    target, wanted, total = sys.argv[1:]
    if target == "heimdall":
        fill_heimdall(wanted, int(total))
    else:
        fill_mlflow(target, wanted, int(total))
