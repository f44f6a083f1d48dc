"""Concurrent actions on a job: the rows stay consistent on both databases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.results_table import Tally, scaled
from tests.stack import Stack, new_database, postgres_is_available

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_concurrent_actions_of_six_processes_keep_the_job_consistent(
    tmp_path: Path, database: str, tally: Tally
) -> None:
    if database == "PostgreSQL" and not postgres_is_available():
        pytest.skip("needs PostgreSQL")
    with new_database() as url:
        stack = Stack(tmp_path, database=url if database == "PostgreSQL" else "")
        output = stack.python("-m", "tests.faults.concurrent_actions", str(scaled(2, 10)))
    found = json.loads(output.splitlines()[-1])
    assert found["violations"] == {}
    assert set(found["outcomes"]) <= {"done", "none", "refused"}
    assert found["rounds"] >= found["pairs"] == 55
    tally(f"six processes, {found['pairs']} pairs of actions, {database}", found["rounds"])
