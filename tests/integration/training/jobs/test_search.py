"""Search reads indexes, with a constant number of queries, and matches like a scan."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from training.jobs import lifecycle
from training.jobs.search import contains, ids_from, search, search_for_staff, with_tag
from training.localization.config import TrainConfig
from training.models import Dataset, Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def jobs(ada: User, bob: User, dataset: Dataset) -> dict[str, Job]:
    def submit(owner: User, name: str, **labels: object) -> Job:
        return lifecycle.submit(owner, dataset, TrainConfig(), name, **labels)  # type: ignore[arg-type]

    return {
        "coast": submit(ada, "North coast", tags=["paper", 'a "quoted" tag', "größer"]),
        "tagged": submit(ada, "Rural", tags=["coast"], notes="Near the lighthouse"),
        "other": submit(bob, "Urban", tags=["paper 2"]),
    }


def names(found: object) -> list[str]:
    return sorted(job.name for job in found)  # type: ignore[attr-defined]


@pytest.mark.parametrize("maximum", [500, 1])
def test_search_finds_name_dataset_owner_tag_and_id(
    jobs: dict[str, Job], dataset: Dataset, monkeypatch: pytest.MonkeyPatch, maximum: int
) -> None:
    monkeypatch.setattr("training.jobs.search.MAX_FETCHED", maximum)
    rows = Job.objects.all()
    assert names(search(rows, "COAST")) == ["North coast"]
    assert names(search(rows, "coast")) == ["North coast", "Rural"]
    assert names(search(rows, dataset.name[1:].upper())) == ["North coast", "Rural", "Urban"]
    assert names(search(rows, "BOB")) == ["Urban"]
    assert names(search(rows, str(jobs["other"].pk))) == ["Urban"]
    assert names(search(rows.filter(owner__username="bob"), "coast")) == []
    assert names(search(rows, "lighthouse")) == []
    assert names(contains(rows, "Lighthouse")) == ["Rural"]
    assert names(contains(rows, "coast")) == ["North coast"]


def test_search_of_staff_also_finds_errors_workers_and_beginnings_of_ids(
    jobs: dict[str, Job],
) -> None:
    Job.objects.filter(pk=jobs["other"].pk).update(error_message="CUDA out of memory")
    Job.objects.filter(pk=jobs["coast"].pk).update(worker="gpu-3")
    assert names(search_for_staff(Job.objects.all(), "out of MEMORY")) == ["Urban"]
    assert names(search_for_staff(Job.objects.all(), "gpu-3")) == ["North coast"]
    beginning = str(jobs["tagged"].pk)[:10]
    assert names(search_for_staff(Job.objects.all(), beginning)) == ["Rural"]
    assert names(Job.objects.filter(pk__range=ids_from(beginning))) == ["Rural"]


@pytest.mark.parametrize("tag", ["paper", 'a "quoted" tag', "größer"])
def test_tag_matches_a_whole_tag(jobs: dict[str, Job], tag: str) -> None:
    assert names(with_tag(Job.objects.all(), tag)) == ["North coast"]


@pytest.mark.parametrize("count", [1, 30])
def test_number_of_queries_is_independent_of_the_matches(
    jobs: dict[str, Job], ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("training.jobs.search.MAX_FETCHED", 10)
    for number in range(count):
        lifecycle.submit(ada, dataset, TrainConfig(), f"Repeated {number}")
    with CaptureQueriesContext(connection) as queries:
        assert len(search(Job.objects.all(), "repeated")) == count
    assert len(queries) == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plan of SQLite")
def test_matches_of_every_kind_are_found_by_index(jobs: dict[str, Job]) -> None:
    with CaptureQueriesContext(connection) as queries:
        list(search_for_staff(Job.objects.all(), "anything"))
        list(contains(Job.objects.all(), "anything"))
        list(with_tag(Job.objects.all(), "anything"))
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + query["sql"].replace("%", "%%"))
            plan = [row[3] for row in cursor.fetchall()]
        scans = [step for step in plan if step.startswith("SCAN training_job")]
        assert all("INDEX" in step for step in scans), (query["sql"], plan)
