"""Hyperparameters of any size on PostgreSQL, whose index entries are small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stack import Stack, new_database

pytestmark = pytest.mark.postgres

SCRIPT = """
import json, django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from training.api.parameter_filter import filter_by_parameters
from training.jobs import reports
from training.models import Job, Sweep

ada = User.objects.get(username="ada")
LONG = "".join(chr(0x4e00 + 37 * number % 20000) for number in range(60000))
VALUES = {
    "long": LONG, "list": list(range(40000)), "object": {str(one): one for one in range(9000)},
    "empty lists": [[]] * 60, "number": 0.001, "text": "0.001", "whole": 16, "true": True,
    "short": "adam", "null": None, "medium": LONG[:80],
}
for name, value in VALUES.items():
    config = dict.fromkeys(("seed", "learning_rate", "batch_size"), value)
    Job.objects.bulk_create([Job(
        owner=ada, program="reported", reported=True, name=name, config=config,
        updated_at="2026-01-01T00:00Z",
    )])

def jobs_with(query):
    return filter_by_parameters(
        Job.objects.order_by("name"), dict([query.split("=")]), Job.objects.all
    )

def find(query):
    return list(jobs_with(query).values_list("name", flat=True))

found = {query: find(query) for query in (
    "param.learning_rate=0.001", "param.batch_size=16", "param.seed=16", "param.seed=7",
)}
with connection.cursor() as cursor:
    cursor.execute("SET enable_seqscan = off")
    plan = "".join(
        jobs_with(f"param.{name}=16").order_by().explain()
        for name in ("seed", "learning_rate", "batch_size")
    )
found["indexes"] = [name for name in (
    "job_seed", "job_learning_rate_headline", "job_batch_size_headline"
) if name in plan]
objective = "x" * 250
reports.register(ada, reports.NewReport(
    objective=reports.ReportedObjective(metric=objective), config={"seed": LONG}), None, None)
Sweep.objects.create(
    owner=ada, name="A", space={}, method="grid", max_parallel=1, objective=objective,
    early_stopping={}, total_trials=1,
)
print(json.dumps(found))
"""


def test_parameters_of_any_size_are_stored_and_found(tmp_path: Path) -> None:
    with new_database() as url:
        if not url:
            pytest.skip("needs PostgreSQL")
        found = Stack(tmp_path, database=url).python("-c", SCRIPT)
    assert json.loads(found.splitlines()[-1]) == {
        "param.learning_rate=0.001": ["number", "text"],
        "param.batch_size=16": ["whole"],
        "param.seed=16": ["whole"],
        "param.seed=7": [],
        "indexes": ["job_seed", "job_learning_rate_headline", "job_batch_size_headline"],
    }
