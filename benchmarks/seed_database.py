"""Fills a database as years of training would: `python -m benchmarks.seed_database JOBS EPOCHS`.

One job has LONGEST epochs, the others share the rest. Rows are copied in as they stand, past
`lifecycle`, whose work is not what is measured; prints the id of the long job.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from benchmarks.curves import metrics  # noqa: E402
from training.localization.config import TrainConfig  # noqa: E402
from training.models import Dataset, Epoch, Job  # noqa: E402

LONGEST = 10_000
BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
RATES = [1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2]
BATCHES = [16, 32, 64, 128]
HEAP = 5000  # rows that are copied at once


def jobs(count: int, epochs: int, owner: int, dataset: UUID) -> Iterator[Job]:
    """The newest one is the long one; of the others every tenth failed without a result."""
    drawn = random.Random(7)
    plain = TrainConfig().model_dump(mode="json")
    share = max(1, (epochs - LONGEST) // (count - 1))
    for index in range(count):
        done = LONGEST if index == count - 1 else share
        failed = index % 10 == 9 and index != count - 1
        best = None if failed else 1000 * math.exp(drawn.gauss(0, 0.5))
        chosen = {"epochs": done, "batch_size": drawn.choice(BATCHES),
                  "learning_rate": drawn.choice(RATES), "seed": index}  # fmt: skip
        at = BEGAN + timedelta(seconds=60 * index)
        yield Job(
            id=UUID(int=drawn.getrandbits(128), version=4), owner_id=owner, dataset_id=dataset,
            name=f"Job {index}", config={**plain, **chosen},
            status="failed" if failed else "completed", seq=2, sent_seq=2, attempt=1,
            current_epoch=done, total_epochs=done, best_epoch=None if failed else done,
            best_value=None if best is None else best / 500 - 3, headline_value=best,
            created_at=at, started_at=at, finished_at=at, updated_at=at,
        )  # fmt: skip


def epochs_of(job: Job) -> Iterator[Epoch]:
    """Curves with a noise, so that their digits are as many as a training's."""
    drawn = random.Random(job.id.int)
    for epoch in range(1, job.current_epoch + 1):
        told = {
            name: value if name.endswith("samples") else (value or 0.0) * drawn.gauss(1, 0.01)
            for name, value in metrics(epoch, job.total_epochs).items()
        }
        yield Epoch(job_id=job.pk, epoch=epoch, metrics=told, seconds=0.5 + 0.1 * drawn.random(),
                    is_best=False, attempt=1, at=job.created_at)  # fmt: skip


def store(rows: Iterable[Any], model: type[Any]) -> None:
    """COPY on PostgreSQL, many rows a statement on SQLite."""
    meta = model._meta  # noqa: SLF001
    fields = [one for one in meta.concrete_fields if one.name != "id" or model is Job]
    columns = ", ".join(f'"{one.column}"' for one in fields)
    table = meta.db_table
    json_fields = {one.attname for one in fields if one.get_internal_type() == "JSONField"}

    def values(row: Any) -> Sequence[Any]:
        raw = {one.attname: getattr(row, one.attname) for one in fields}
        return [json.dumps(value) if name in json_fields else _plain(value)
                for name, value in raw.items()]  # fmt: skip

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(values(row))
            return
        marks = ", ".join(["%s"] * len(fields))
        insert = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
        left = map(values, rows)
        while heap := list(islice(left, HEAP)):
            cursor.executemany(insert, heap)


def _plain(value: Any) -> Any:
    """As Django stores it: SQLite has no type for an id or a moment."""
    if connection.vendor == "postgresql":
        return value
    if isinstance(value, UUID):
        return value.hex
    return value.replace(tzinfo=None).isoformat(" ") if isinstance(value, datetime) else value


def main(count: int, epochs: int) -> None:
    owner, dataset = User.objects.get(username="ada").pk, Dataset.objects.get().pk
    all_jobs = list(jobs(count, epochs, owner, dataset))
    with transaction.atomic():
        store(all_jobs, Job)
        store((epoch for job in all_jobs for epoch in epochs_of(job)), Epoch)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(all_jobs[-1].pk)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
