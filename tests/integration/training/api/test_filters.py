"""Jobs by their tags, on both databases."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from training.api.filters import HasItem
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job

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
    assert {one["name"] for one in results} == found


def test_tag_filter_uses_containment_on_postgresql(db: None) -> None:
    query = Job.objects.filter(tags__has_item="x").query
    compiler = query.get_compiler(connection=connection)
    where = query.where.children[0]
    assert isinstance(where, HasItem)
    errors, values = where.as_postgresql(compiler, connection)
    assert errors.endswith('"tags" @> %s::jsonb') and values == ('["x"]',)
