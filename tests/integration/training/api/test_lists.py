"""Long lists: order, pages, filters by parameters, and a constant number of queries."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from training.api import ordering
from training.localization.config import TrainConfig
from training.models import Dataset, Epoch, Job

API = "/api/v1/training"
JOBS = f"{API}/jobs"


def stored(owner: User, dataset: Dataset, count: int) -> list[Job]:
    """Every fifth has no result, and each result is that of two."""
    plain = TrainConfig().model_dump(mode="json")
    return Job.objects.bulk_create(
        Job(
            id=uuid4(), owner=owner, dataset=dataset, name=f"Job {index:03}",
            config={**plain, "batch_size": 32 if index % 2 else 64, "model": "mlp"},
            headline_value=None if index % 5 == 4 else float(7 * index % count // 2),
            updated_at=timezone.now(),
        )
        for index in range(count)
    )  # fmt: skip


def walk(api: APIClient, url: str | None, way: str = "next") -> list[list[dict[str, Any]]]:
    """Every page from there on."""
    pages = []
    while url:
        answer = api.get(url)
        assert answer.status_code == 200, answer.json()
        pages.append(answer.json()["results"])
        url = answer.json()[way]
    return pages


def best_of(jobs: list[dict[str, Any]]) -> list[float]:
    return [float("inf") if job["best_val_rmse"] is None else job["best_val_rmse"] for job in jobs]


@pytest.mark.parametrize(
    "ordering", ["best_val_rmse", "-best_val_rmse", "finished_at", "name", "-created_at"]
)
def test_pages_add_up_to_the_whole_list(
    api: APIClient, ada: User, dataset: Dataset, ordering: str
) -> None:
    stored(ada, dataset, 23)
    pages = walk(api, f"{JOBS}?page_size=4&ordering={ordering}")
    names = [job["name"] for page in pages for job in page]
    assert [len(page) for page in pages] == [4, 4, 4, 4, 4, 3]
    assert len(set(names)) == 23
    if "best" in ordering:
        found = best_of([job for page in pages for job in page])
        assert found == sorted(found, reverse=ordering.startswith("-"))
    if ordering == "name":
        assert names == sorted(names)


def test_previous_links_give_the_same_pages(api: APIClient, ada: User, dataset: Dataset) -> None:
    stored(ada, dataset, 10)
    first = f"{JOBS}?page_size=3&ordering=best_val_rmse"
    there = walk(api, first)
    second = api.get(api.get(first).json()["next"]).json()
    last = api.get(api.get(second["next"]).json()["next"]).json()
    assert last["next"] is None
    back = walk(api, last["previous"], "previous")
    assert back[::-1] == there[:-1]


def test_jobs_are_filtered_by_hyperparameter(api: APIClient, ada: User, dataset: Dataset) -> None:
    stored(ada, dataset, 20)
    query = "param.batch_size=32&param.learning_rate=2e-3&param.model=mlp"
    found = api.get(f"{JOBS}?{query}&ordering=best_val_rmse").json()["results"]
    assert len(found) == 10
    assert {job["config"]["batch_size"] for job in found} == {32}
    assert best_of(found) == sorted(best_of(found))


def test_jobs_are_filtered_by_a_boolean_parameter(
    api: APIClient, ada: User, dataset: Dataset
) -> None:
    jobs = stored(ada, dataset, 4)
    for job in jobs[:3]:
        job.config["portfolio"] = False
        job.save()
    for text, expected in (("true", jobs[3:]), ("1", jobs[3:]), ("false", jobs[:3])):
        found = api.get(f"{JOBS}?param.portfolio={text}").json()["results"]
        assert {job["id"] for job in found} == {str(job.pk) for job in expected}


REPORTED_CONFIG: dict[str, Any] = {
    "lr": 0.1, "depth": "4", "epochs": "5", "fused": True, "warmup": None, "model.name": "rés'né",
    "a b%s": 1e-05,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("lr", "0.1", True), ("lr", "1e-1", True), ("lr", "0.2", False),
        ("depth", "4", True), ("depth", "4.5", False), ("epochs", "5", True),
        ("fused", "true", True), ("fused", "True", True), ("fused", "1", False),
        ("warmup", "None", True), ("warmup", "null", True), ("warmup", "0", False),
        ("model.name", "rés'né", True), ("a b%s", "0.00001", True),
    ],
)  # fmt: skip
def test_reported_jobs_are_filtered_by_parameters_that_no_program_declares(
    api: APIClient, ada: User, dataset: Dataset, name: str, text: str, is_found: bool
) -> None:
    stored(ada, dataset, 2)
    body = {"name": "Elsewhere", "config": REPORTED_CONFIG}
    assert api.post(f"{API}/reports", body, format="json").status_code == 201
    found = api.get(JOBS, {f"param.{name}": text})
    assert found.status_code == 200, found.json()
    assert len(found.json()["results"]) == is_found
    assert api.get(JOBS, {f"param.{name}": text, "status": "failed"}).json()["results"] == []


def test_parameter_of_jobs_that_the_user_may_not_open_is_unknown(api: APIClient, bob: User) -> None:
    api.post(f"{API}/reports", {"name": "x", "config": {"secret_name": 1}}, format="json")
    api.force_authenticate(bob)
    answer = api.get(JOBS, {"param.secret_name": "1"})
    assert answer.status_code == 400
    assert answer.json()["errors"] == {"param.secret_name": ["Unknown field."]}


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ("param.batch_size=many", "param.batch_size", "'many' is not a whole number."),
        ("param.learning_rate=1_0", "param.learning_rate",
         "'1_0' is not a number; write it with the digits 0 to 9."),
        ("param.batchsize=3", "param.batchsize", "Unknown field; did you mean 'batch_size'?"),
        ("ordering=seq", "ordering", f"'seq' is not one of {', '.join(ordering.JOB_SORT_KEYS)}."),
        ("cursor=abc", "cursor", "Invalid cursor; use the `next` and `previous` links."),
        ("page_size=0", "page_size", "'0' is not a whole number from 1 to 200."),
    ],
)  # fmt: skip
def test_invalid_query_parameter_is_reported(
    api: APIClient, query: str, field: str, sentence: str
) -> None:
    answer = api.get(f"{JOBS}?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"] == {field: [sentence]}


@pytest.mark.parametrize(
    ("ordering", "text"),
    [
        ("name", "[" * 5000),
        ("name", '["name", "\\ud800", "0a3f9d5e-8f0e-4c9d-9d83-0d6b7c1f2a3b", 0]'),
        ("name", '["name", "a\\u0000", "0a3f9d5e-8f0e-4c9d-9d83-0d6b7c1f2a3b", 0]'),
        ("name", '["name", "a", "no-uuid", 0]'),
        ("created_at", '["created_at", "0001-01-01T00:00:00+14:00", "", 0]'),
        ("created_at", f'["created_at", "0001-01-01T00:00:00+23:59", "{UUID(int=1)}", 0]'),
        ("created_at", f'["created_at", "9999-12-31T23:59:59-23:59", "{UUID(int=1)}", 0]'),
        ("best_val_rmse", '["best_val_rmse", {}, "0a3f9d5e-8f0e-4c9d-9d83-0d6b7c1f2a3b", 0]'),
        ("name", "{}"),
        ("name", "null"),
    ],
)
def test_forged_cursor_is_400(api: APIClient, ordering: str, text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode()
    answer = api.get(JOBS, {"ordering": ordering, "cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["errors"] == {
        "cursor": ["Invalid cursor; use the `next` and `previous` links."]
    }


def test_cursor_of_another_order_is_refused(api: APIClient, ada: User, dataset: Dataset) -> None:
    stored(ada, dataset, 5)
    following = api.get(f"{JOBS}?page_size=2&ordering=name").json()["next"]
    answer = api.get(following.replace("ordering=name", "ordering=best_val_rmse"))
    assert answer.status_code == 400 and "cursor" in answer.json()["errors"]


@pytest.mark.parametrize("count", [10, 200])
@pytest.mark.usefixtures("no_rate_limits")
def test_query_count_of_a_list_does_not_grow(
    api: APIClient,
    ada: User,
    dataset: Dataset,
    count: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    stored(ada, dataset, count)
    with django_assert_num_queries(4) as queries:  # teams, whether many, jobs, workers
        found = api.get(f"{JOBS}?page_size=200&ordering=best_val_rmse&param.model=mlp").json()
    assert len(found["results"]) == count
    assert not any("COUNT" in query["sql"].upper() for query in queries.captured_queries)


@pytest.mark.parametrize("count", [10, 200])
@pytest.mark.usefixtures("no_rate_limits")
def test_query_count_of_a_history_does_not_grow(
    api: APIClient,
    ada: User,
    dataset: Dataset,
    count: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    job = stored(ada, dataset, 1)[0]
    Epoch.objects.bulk_create(
        Epoch(job=job, epoch=epoch, metrics={"val_loss": 1 / epoch}, seconds=1, attempt=1,
              at=timezone.now())
        for epoch in range(1, count + 1)
    )  # fmt: skip
    with django_assert_num_queries(4):  # teams, job, its new epochs, whether there are newer
        errors = api.get(f"{JOBS}/{job.pk}/metrics?max_points=10000").json()
    assert len(errors["epoch"]) == count
    with django_assert_num_queries(3):
        epochs = api.get(f"{JOBS}/{job.pk}/epochs").json()
    assert len(epochs["results"]) == count


@pytest.mark.parametrize("path", ["jobs", "datasets", "sweeps", "projects"])
def test_number_of_search_terms_is_bounded(api: APIClient, path: str) -> None:
    few, many = ("a " * count for count in (12, 2000))
    assert api.get(f"{API}/{path}", {"search": few}).status_code == 200
    refused = api.get(f"{API}/{path}", {"search": many})
    assert refused.status_code == 400
    assert refused.json()["errors"] == {
        "search": ["Too many search terms (2,000); at most 12 allowed."]
    }


def test_too_deeply_nested_query_is_400_and_not_503(api: APIClient, job: Job) -> None:
    answer = api.get(f"{API}/jobs", {"param.epochs": ",".join(map(str, range(3000)))})
    assert answer.status_code == 400
    assert api.get(f"{API}/jobs", {"tag": ["x"] * 400}).status_code == 400


@pytest.mark.parametrize("query", ["search=%00", "tag=a%1b", "%00=1", "search=%ed%a0%80"])
def test_query_with_an_unstorable_character_is_answered(api: APIClient, query: str) -> None:
    answer = api.get(f"{API}/jobs?{query}")
    # What is not UTF-8 is replaced, and compares with nothing.
    assert answer.status_code == (200 if "%ed" in query else 400)
    assert answer["Content-Type"] == (
        "application/json" if "%ed" in query else "application/problem+json"
    )
