"""A month under the retention policy, pruned by processes that are killed (`retention_month`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.stack import new_database

FULL = os.environ.get("HEIMDALL_FAULTS") == "full"
JOBS, KILLS = (30_000, 200) if FULL else (300, 12)
PACK_DAYS = 7


@pytest.mark.timeout(7200 if FULL else 300)
def test_retention_keeps_a_month_of_jobs_within_budget_although_it_is_killed(
    tmp_path: Path,
) -> None:
    with new_database() as database:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.retention_month",
             "--jobs", str(JOBS), "--kills", str(KILLS)],
            cwd=settings.BASE_DIR,
            env={
                **os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "DATABASE_URL": database,
                "RABBITMQ_URL": "", "DJANGO_SETTINGS_MODULE": "heimdall.settings",
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sys.stdout.write(done.stdout)
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= KILLS // 2
    nothing = (
        "lost_jobs", "lost_files", "lost_models", "lost_epochs", "jobs_with_holes",
        "orphaned_folders", "pending_removals", "expired_sessions",
    )  # fmt: skip
    assert {name: report[name] for name in nothing} == dict.fromkeys(nothing, 0)
    # Progress events of the last week are rows, those of all others are in one block a job.
    young = JOBS // 30 * (PACK_DAYS + 1)
    assert report["event_rows"] <= young * report["seq"] + report["jobs"] * 4
    assert report["blocks"] <= report["jobs"]
