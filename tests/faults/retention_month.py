"""Simulates a month of finished jobs, pruned each day by processes that are killed.

    python -m tests.faults.retention_month --jobs 30000 --days 30 --kills 200 --seed 1

Each day the rows grow a day older, new jobs end, some are deleted, and retention runs in forked
processes that get SIGKILL at a random moment before one may end. Prints a table for each day, and
last a line of JSON: what is missing, what is left over, and what uses the disk.
"""

# ruff: noqa: S608, T201 - a script whose SQL is built from constants, and which prints a report

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import F  # noqa: E402
from django.utils import timezone  # noqa: E402

from training.events.store import frames  # noqa: E402
from training.jobs import directories, lifecycle  # noqa: E402
from training.models import (  # noqa: E402
    AuditEntry,
    Epoch,
    EventBlock,
    FileRemoval,
    Job,
    JobEvent,
    TrainedModel,
    UserSession,
)
from training.retention import run  # noqa: E402
from training.retention.policy import Policy  # noqa: E402
from training.storage.disk_usage import disk_bytes, table_bytes  # noqa: E402

EPOCHS = 80
SEQ = 3 + EPOCHS + EPOCHS // 2 + 1  # queued, claimed, started; epochs and best ones; completed
METRICS = ("train_loss", "val_loss", "train_rmse", "val_rmse", "val_mean", "val_median", "val_p68",
           "val_p95", "learning_rate", "val_nll")  # fmt: skip
DELETED_SHARE = 0.02
FILES = ("epoch-000079.safetensors", "epoch-000080.safetensors", "best-000080.safetensors",
         "model.safetensors", "card.json", "trainer.log")  # fmt: skip
KEPT_FILES = {"best-000080.safetensors", "model.safetensors", "card.json", "trainer.log"}


def end_jobs(owner: User, count: int) -> None:
    """Jobs that ended just now, with their rows and files."""
    now = timezone.now()
    jobs = [
        Job(
            id=uuid.uuid4(), owner=owner, status="completed", seq=SEQ, sent_seq=SEQ,
            current_epoch=EPOCHS, total_epochs=EPOCHS, best_epoch=EPOCHS, attempt=1,
            started_at=now, finished_at=now, updated_at=now,
        )
        for _ in range(count)
    ]  # fmt: skip
    for job in jobs:
        folder = directories.attempt_directory(job.pk, 1)
        folder.mkdir(parents=True)
        for name in FILES:
            (folder / name).write_bytes(b"x" * 1000)
        job.checkpoint_path = str(folder / "best-000080.safetensors")
    Job.objects.bulk_create(jobs)
    TrainedModel.objects.bulk_create(
        TrainedModel(job=job, checkpoint_path=job.checkpoint_path, evaluation={}) for job in jobs
    )
    postgres = connection.vendor == "postgresql"
    build = "jsonb_build_object" if postgres else "json_object"
    number = "random()" if postgres else "(random() / 9223372036854775808.0)"
    metrics = f"{build}({', '.join(f'{name!r}, {number}' for name in METRICS)})"
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) "
    ids = [job.pk if postgres else job.pk.hex for job in jobs]
    marks = ", ".join(["%s"] * len(ids))
    moment = "now()" if postgres else "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    best = "(n.i %% 2 = 0)" if postgres else "(n.i %% 2)"
    with connection.cursor() as cursor:
        cursor.execute(
            numbers.format(EPOCHS)
            + "INSERT INTO training_epoch (job_id, epoch, metrics, is_best, seconds, attempt, at) "
            f"SELECT j.id, n.i, {metrics}, {best}, 0.1, 1, {moment} "
            f"FROM training_job j, n WHERE j.id IN ({marks})",
            ids,
        )
        data = f"{build}('job_id', 'j', 'epoch', n.i, 'metrics', {metrics})"
        kind = (
            f"CASE WHEN n.i <= 2 OR n.i = {SEQ} THEN 'training:status' "
            "WHEN n.i = 3 THEN 'training:started' ELSE 'training:progress' END"
        )
        cursor.execute(
            numbers.format(SEQ) + "INSERT INTO training_jobevent (job_id, seq, event, data, at) "
            f"SELECT j.id, n.i, {kind}, {data}, {moment} "
            f"FROM training_job j, n WHERE j.id IN ({marks})",
            ids,
        )
    AuditEntry.objects.bulk_create(
        AuditEntry(actor="system", action="sign in refused", target="x") for _ in range(count)
    )
    UserSession.objects.bulk_create(
        UserSession(session_key=uuid.uuid4().hex, session_data="x" * 200, user=owner,
                    expire_date=now + timedelta(hours=12), created_at=now, last_used_at=now)
        for _ in range(count)
    )  # fmt: skip


def grow_older() -> None:
    day = timedelta(days=1)
    Job.objects.update(finished_at=F("finished_at") - day)
    AuditEntry.objects.update(at=F("at") - day)
    UserSession.objects.update(expire_date=F("expire_date") - day)


def prune_in_child(to_delete: list[uuid.UUID], seconds: float | None) -> bool:
    """Delete these jobs and apply the policy; whether the child ended before it was killed."""
    connection.close()
    child = os.fork()
    if child == 0:
        try:
            for job in Job.objects.filter(pk__in=to_delete):
                lifecycle.delete_job(job)
            for _ in run.steps(Policy.from_settings()):
                pass
            run.complete()
        except BaseException as error:
            print(f"retention failed: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + (3600 if seconds is None else seconds)
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, status
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def check(deleted: set[uuid.UUID], sample: int) -> dict[str, int]:
    """What is missing of kept jobs, and what is left of deleted ones."""
    jobs = list(Job.objects.only("pk", "checkpoint_path", "finished_at"))
    known = {str(job.pk) for job in jobs}
    folders = {path.name for path in (Path(settings.DATA_DIR) / "jobs").iterdir()}
    lost_files = sum(
        not (directories.attempt_directory(job.pk, 1) / name).exists()
        for job in jobs
        for name in KEPT_FILES
    )
    holes = sum(
        [json.loads(frame.body)["seq"] for frame in frames(job.pk, 0, 10_000)]
        != list(range(1, SEQ + 1))
        for job in random.sample(jobs, min(sample, len(jobs)))
    )
    return {
        "lost_jobs": len(known & set(map(str, deleted))),
        "lost_files": lost_files,
        "lost_models": len(jobs) - TrainedModel.objects.count(),
        "lost_epochs": len(jobs) * EPOCHS - Epoch.objects.count(),
        "jobs_with_holes": holes,
        "orphaned_folders": len(folders - known),
        "pending_removals": FileRemoval.objects.count(),
        "expired_sessions": UserSession.objects.filter(expire_date__lt=timezone.now()).count(),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("jobs", 600), ("days", 30), ("kills", 10), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    random.seed(options.seed)
    call_command("migrate", verbosity=0)
    owner = User.objects.create_user("ada")
    per_day = options.jobs // options.days
    kills_left, killed, deleted = options.kills, 0, set[uuid.UUID]()
    peak_events, full_run = 0, 0.2
    print("day jobs event_rows blocks epochs MB_files MB_tables kills")
    for day in range(1, options.days + 1):
        grow_older()
        end_jobs(owner, per_day)
        to_delete = list(Job.objects.order_by("?").values_list("pk", flat=True)[: max(1, int(
            DELETED_SHARE * per_day))])  # fmt: skip
        deleted.update(to_delete)
        wanted = kills_left // (options.days - day + 1)
        while wanted:
            # Within the time that the last whole run took, so that kills hit every part of it.
            if prune_in_child(to_delete, random.uniform(0.01, full_run)):
                break
            wanted, kills_left, killed = wanted - 1, kills_left - 1, killed + 1
        began = time.monotonic()
        assert prune_in_child(to_delete, None)
        full_run = min(1.5, max(0.1, time.monotonic() - began))
        if connection.vendor == "postgresql":  # as its autovacuum does within a day
            with connection.cursor() as cursor:
                cursor.execute("VACUUM")
        events = JobEvent.objects.count()
        peak_events = max(peak_events, events)
        print(
            day, Job.objects.count(), events, EventBlock.objects.count(), Epoch.objects.count(),
            disk_bytes(Path(settings.DATA_DIR) / "jobs") // 10**6,
            sum(table_bytes().values()) // 10**6, killed, flush=True,
        )  # fmt: skip
    jobs = Job.objects.count()
    report = {
        "jobs": jobs, "kills": killed, "deleted": len(deleted), "seq": SEQ,
        "event_rows": JobEvent.objects.count(), "peak_event_rows": peak_events,
        "blocks": EventBlock.objects.count(), "epochs": Epoch.objects.count(),
        "file_bytes_per_job": disk_bytes(Path(settings.DATA_DIR) / "jobs") // jobs,
        "tables": {name: size for name, size in sorted(table_bytes().items()) if size > 10**5},
        **check(deleted, 500),
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
