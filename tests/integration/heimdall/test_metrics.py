from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import DjangoAssertNumQueries

from training.jobs import lifecycle
from training.jobs.policy import QueuePolicy
from training.localization.config import TrainConfig
from training.models import Dataset
from training.retention import run
from training.workers import registry as workers


def test_metrics_are_exported_with_few_queries(
    client: Client,
    ada: User,
    dataset: Dataset,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for needs in ("auto", "gpu", "gpu"):
        lifecycle.submit(
            ada, dataset, TrainConfig(), policy=QueuePolicy.model_validate({"needs": needs})
        )
    workers.register("here", 3, ["cpu"])
    client.get("/healthz")
    with django_assert_max_num_queries(13):
        answer = client.get("/metrics")
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }
    assert found["heimdall_queue_jobs", ("needs", "gpu")] == 2
    assert found["heimdall_jobs", ("status", "queued")] == 3
    assert found["heimdall_workers", ("state", "idle")] == 1
    assert found["heimdall_worker_slots",] == 3
    assert found["heimdall_outbox_events",] == 3
    assert found["heimdall_database_up",] == 1
    assert 0 < found["heimdall_disk_free_bytes",] < found["heimdall_disk_size_bytes",]

    health = ("method", "GET"), ("route", "healthz"), ("status", "200")
    assert found[("heimdall_http_seconds_count", *health)] >= 1


@pytest.mark.django_db
def test_unknown_http_methods_share_one_time_series(client: Client) -> None:
    for method in ("BREW", "WHEN"):
        client.generic(method, "/healthz")
    text = client.get("/metrics").content.decode()
    assert 'method="other",route="healthz"' in text
    assert "BREW" not in text and "WHEN" not in text


@pytest.mark.django_db
def test_prometheus_metrics_include_disk_usage_measured_by_retention(client: Client) -> None:
    run.complete()
    lines = client.get("/metrics").content.decode().splitlines()
    for kind in ("datasets", "jobs", "other", "database"):
        (line,) = [
            one for one in lines if one.startswith(f'heimdall_disk_used_bytes{{kind="{kind}"}}')
        ]
        assert float(line.split()[1]) >= 0
    assert any(one.startswith("heimdall_retention_finished_seconds ") for one in lines)
