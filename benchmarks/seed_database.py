"""Fill a database with jobs and epochs: `python -m benchmarks.seed_database JOBS EPOCHS`.

One job has LONGEST epochs, the others share the rest. Rows are inserted directly, without
`lifecycle`, which is not measured here. Prints the id of the long job.
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
FIRST_CREATED_AT = datetime(2025, 1, 1, tzinfo=UTC)
RATES = [1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2]
BATCHES = [16, 32, 64, 128]
BATCH_SIZE = 5000  # rows per statement


def jobs(count: int, epochs: int, owner: int, dataset: UUID) -> Iterator[Job]:
    """Yield jobs: the newest has LONGEST epochs; every tenth of the others failed."""
    rng = random.Random(7)
    defaults = TrainConfig().model_dump(mode="json")
    share = max(1, (epochs - LONGEST) // (count - 1))
    for index in range(count):
        length = LONGEST if index == count - 1 else share
        failed = index % 10 == 9 and index != count - 1
        best = None if failed else 1000 * math.exp(rng.gauss(0, 0.5))
        varied = {"epochs": length, "batch_size": rng.choice(BATCHES),
                  "learning_rate": rng.choice(RATES), "seed": index}  # fmt: skip
        at = FIRST_CREATED_AT + timedelta(seconds=60 * index)
        yield Job(
            id=UUID(int=rng.getrandbits(128), version=4), owner_id=owner, dataset_id=dataset,
            name=f"Job {index}", config={**defaults, **varied},
            status="failed" if failed else "completed", seq=2, sent_seq=2, attempt=1,
            current_epoch=length, total_epochs=length, best_epoch=None if failed else length,
            best_value=None if best is None else best / 500 - 3, headline_value=best,
            created_at=at, started_at=at, finished_at=at, updated_at=at,
        )  # fmt: skip


def epochs_of(job: Job) -> Iterator[Epoch]:
    """Noisy curves, so that numbers have as many digits as those of a real training."""
    rng = random.Random(job.id.int)
    for epoch in range(1, job.current_epoch + 1):
        values = {
            name: value if name.endswith("samples") else (value or 0.0) * rng.gauss(1, 0.01)
            for name, value in metrics(epoch, job.total_epochs).items()
        }
        yield Epoch(job_id=job.pk, epoch=epoch, metrics=values, seconds=0.5 + 0.1 * rng.random(),
                    is_best=False, attempt=1, at=job.created_at)  # fmt: skip


def store(rows: Iterable[Any], model: type[Any]) -> None:
    """Insert with COPY on PostgreSQL, in batches on SQLite."""
    meta = model._meta  # noqa: SLF001
    fields = [one for one in meta.concrete_fields if one.name != "id" or model is Job]
    columns = ", ".join(f'"{one.column}"' for one in fields)
    table = meta.db_table
    json_fields = {one.attname for one in fields if one.get_internal_type() == "JSONField"}

    def values(row: Any) -> Sequence[Any]:
        raw = {one.attname: getattr(row, one.attname) for one in fields}
        return [json.dumps(value) if name in json_fields else _to_column(value)
                for name, value in raw.items()]  # fmt: skip

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(values(row))
            return
        placeholders = ", ".join(["%s"] * len(fields))
        insert = f"INSERT INTO {table} ({columns}) VALUES ({placeholders})"  # noqa: S608
        remaining = map(values, rows)
        while batch := list(islice(remaining, BATCH_SIZE)):
            cursor.executemany(insert, batch)


def _to_column(value: Any) -> Any:
    """The value as Django stores it: SQLite has no type for a UUID or a datetime."""
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
