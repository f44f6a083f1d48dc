"""Everything at once, on both databases: one wins, the others hear so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.results_table import Tally, often
from tests.stack import Stack, own_database, postgres_is_there

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_whatever_six_processes_do_to_a_job_at_once_it_stays_legal(
    tmp_path: Path, database: str, tally: Tally
) -> None:
    if database == "PostgreSQL" and not postgres_is_there():
        pytest.skip("needs PostgreSQL")
    with own_database() as url:
        stack = Stack(tmp_path, database=url if database == "PostgreSQL" else "")
        output = stack.python("-m", "tests.faults.racer", str(often(2, 10)))
    found = json.loads(output.splitlines()[-1])
    assert found["faults"] == {}
    assert set(found["came_to"]) <= {"done", "none", "refused"}
    assert found["rounds"] >= found["pairs"] == 55
    tally(f"six processes, {found['pairs']} pairs of actions, {database}", found["rounds"])
