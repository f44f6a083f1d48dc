"""Filters of jobs by tags, on both databases."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job
from training.models.expressions import HasItem

TAGS = {"one": ["even", "all"], "two": ['a", "even', "all"], "three": ["été"], "four": []}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tag=even", {"one"}),
        ("tag=all", {"one", "two"}),
        ("tag=all&tag=even", {"one"}),
        ('tag=a", "even', {"two"}),
        ("tag=été", {"three"}),
        ("tag=eve", set()),
    ],
)
def test_tag_filter_requires_every_tag(
    api: APIClient, ada: User, dataset: Dataset, query: str, found: set[str]
) -> None:
    for name, tags in TAGS.items():
        lifecycle.submit(ada, dataset, TrainConfig(), name, tags=tags)
    results = api.get(f"/api/v1/training/jobs?{query}").json()["results"]
    assert {row["name"] for row in results} == found


def test_tag_filter_uses_containment_on_postgresql(db: None) -> None:
    query = Job.objects.filter(tags__has_item="x").query
    compiler = query.get_compiler(connection=connection)
    where = query.where.children[0]
    assert isinstance(where, HasItem)
    errors, values = where.as_postgresql(compiler, connection)
    assert errors.endswith('"tags" @> %s::jsonb') and values == ('["x"]',)


def test_id_filter_takes_the_beginning_of_an_id(api: APIClient, job: Job) -> None:
    whole = str(job.pk)
    for text in (whole[:1], whole[:8], whole[:15], whole.upper(), job.pk.hex):
        found = api.get("/api/v1/training/jobs", {"id": text}).json()["results"]
        assert [one["id"] for one in found] == [whole], text
    other = ("0" if whole[0] != "0" else "1") + whole[1:8]
    assert api.get("/api/v1/training/jobs", {"id": other}).json()["results"] == []
    answer = api.get("/api/v1/training/jobs", {"id": "xyz"})
    assert answer.status_code == 400
    assert answer.json()["errors"]["id"] == ["'xyz' is not the beginning of an ID."]


@pytest.mark.parametrize("path", ["/api/v1/training/jobs", "/jobs"])
def test_deeply_nested_value_of_a_parameter_is_a_text(page: Client, job: Job, path: str) -> None:
    Job.objects.update(config={"x": "a"}, config_texts={"x": "a"})
    assert page.get(path, {"param.x": "[" * 100_000}).status_code == 200
