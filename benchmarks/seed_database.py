"""Fill a database with jobs: `python -m benchmarks.seed_database JOBS EPOCHS [DATASETS [TRIALS]]`.

The newest job has LONGEST epochs, the others share the rest; EPOCHS is the total. Owners, teams,
projects, tags, states, programs and metrics are mixed as in an installation that has been used for
a long time. One sweep has TRIALS trials. Rows are inserted directly, without `lifecycle`, which is
not measured here. Prints a `Seeded` as JSON.
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

from django.contrib.auth.models import Group, User  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from benchmarks.curves import metrics  # noqa: E402
from benchmarks.harness import Seeded  # noqa: E402
from benchmarks.seed_words import (  # noqa: E402
    RARE_EVERY,
    RARE_TAG,
    RARE_WORD,
    TAGS,
    WORDS,
)
from training.localization.config import TrainConfig  # noqa: E402
from training.models import Dataset, Epoch, Job, JobEvent, Project, Sweep  # noqa: E402
from training.models.config_texts import texts_of  # noqa: E402

LONGEST = 10_000
FIRST_CREATED_AT = datetime(2025, 1, 1, tzinfo=UTC)
RATES = [1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2]
BATCHES = [16, 32, 64, 128]
STATES = {"completed": 800, "failed": 100, "cancelled": 90, "queued": 5, "paused": 4, "running": 1}
OWNERS, TEAMS, PROJECTS = 20, 5, 30
HEAVY_SHARE = 0.4  # of the jobs are ada's
LIGHT_EVERY = 5000  # jobs: the few of bob
BATCH_SIZE = 5000  # rows per statement


class JobFactory:
    """Yields jobs, the oldest first."""

    def __init__(self, count: int, epochs: int, trials: int) -> None:
        self._rng = random.Random(7)
        self._count, self._trials = count, min(trials, count // 2)
        self._share = max(1, (epochs - LONGEST) // max(count - 1, 1))
        self._defaults = TrainConfig().model_dump(mode="json")
        ada, bob = (User.objects.get(username=name) for name in ("ada", "bob"))
        self._ada, self._bob, self._dataset = ada.pk, bob.pk, Dataset.objects.first()
        assert self._dataset is not None
        self._others = [
            user.pk
            for user in User.objects.bulk_create(
                User(username=f"user-{number:02}") for number in range(OWNERS)
            )
        ]
        self._teams = Group.objects.bulk_create(Group(name=f"Team {n}") for n in range(TEAMS))
        ada.groups.add(*self._teams[:2])
        bob.groups.add(self._teams[-1])
        owners = [self._ada, *self._others]
        self._projects = Project.objects.bulk_create(
            Project(owner_id=owners[number % len(owners)], name=f"Project {number}")
            for number in range(PROJECTS)
        )
        self.sweep = self._create_sweep() if trials else None

    def _create_sweep(self) -> Sweep:
        return Sweep.objects.create(
            owner_id=self._ada, name="Large sweep", dataset=self._dataset, method="random",
            config=self._defaults, space={"learning_rate": {"values": RATES}, "batch_size":
            {"values": BATCHES}}, max_parallel=4, objective="val_loss", status="completed",
            early_stopping={"rule": "none"}, total_trials=self._trials,
            started_trials=self._trials)  # fmt: skip

    def jobs(self) -> Iterator[Job]:
        for index in range(self._count):
            newest = index == self._count - 1
            yield self._job(index, newest)

    def _job(self, index: int, longest: bool) -> Job:
        rng = self._rng
        # The trials are the newest jobs but one: the first page of the list folds them.
        trial = index - (self._count - 1 - self._trials)
        is_trial = self.sweep is not None and 0 <= trial < self._trials
        status = "completed" if longest or is_trial else rng.choices(
            [*STATES], [*STATES.values()])[0]  # fmt: skip
        total = LONGEST if longest else self._share
        reached = 0 if status == "queued" else total
        has_result = status not in ("failed", "queued")
        best = 1000 * math.exp(rng.gauss(0, 0.5)) if has_result else None
        values = {"batch_size": rng.choice(BATCHES), "learning_rate": rng.choice(RATES),
                  "epochs": total, "seed": index}  # fmt: skip
        project = rng.choice(self._projects) if rng.random() < 0.3 else None
        owner = self._owner(index, longest or is_trial, project)
        at = FIRST_CREATED_AT + timedelta(seconds=60 * index)
        ended = status in ("completed", "failed", "cancelled")
        started = None if status == "queued" else at + timedelta(seconds=rng.expovariate(0.1))
        rare = index % RARE_EVERY == RARE_EVERY // 300
        reported = not longest and not is_trial and rng.random() < 0.3
        words = " ".join([*rng.sample(WORDS, 2), *([RARE_WORD] if rare else [])])
        return Job(
            id=UUID(int=rng.getrandbits(128), version=4), owner_id=owner, project=project,
            dataset=None if reported else self._dataset, name=f"{words} {index}",
            notes=f"Does the {words} split need more epochs?" if rng.random() < 0.2 else "",
            tags=[*rng.sample(TAGS, rng.randrange(3)), *([RARE_TAG] if rare else [])],
            team=rng.choice(self._teams) if rng.random() < 0.2 else None,
            program="reported" if reported else "localizer", reported=reported,
            config={"lr": values["learning_rate"], "model": "resnet", "depth": index % 5}
            if reported else {**self._defaults, **values},
            sweep=self.sweep if is_trial else None, trial=trial + 1 if is_trial else None,
            status=status, seq=2, sent_seq=2, attempt=min(reached, 1), current_epoch=reached,
            total_epochs=total, best_epoch=reached if has_result else None,
            objective_metric="val_accuracy" if reported else "val_loss",
            objective_direction="maximize" if reported else "minimize",
            best_value=None if best is None else best / 500 - 3, headline_value=best,
            summary={"val_accuracy": rng.random(), "loss": rng.expovariate(1)} if reported and
            reached else metrics(reached, total) if reached else {},
            heartbeat_at=at if status == "running" else None, disk_bytes=1000 * total,
            created_at=at, started_at=started, updated_at=at,
            finished_at=started and started + timedelta(seconds=rng.expovariate(0.01))
            if ended else None,
        )  # fmt: skip

    def _owner(self, index: int, own: bool, project: Project | None) -> int:
        if own:
            return self._ada
        if index % LIGHT_EVERY == 0:
            return self._bob
        if project is not None:
            return project.owner_id
        heavy = self._rng.random() < HEAVY_SHARE
        return self._ada if heavy else self._rng.choice(self._others)


def epochs_of(job: Job) -> Iterator[Epoch]:
    """Noisy curves, so that numbers have as many digits as those of a real training."""
    rng = random.Random(job.id.int)
    for epoch in range(1, job.current_epoch + 1):
        values = {
            name: value if name.endswith("samples") else (value or 0.0) * rng.gauss(1, 0.01)
            for name, value in metrics(epoch, job.total_epochs).items()
        }
        if job.reported:
            values = {"val_accuracy": rng.random(), "loss": values["train_loss"]}
        yield Epoch(job_id=job.pk, epoch=epoch, metrics=values, seconds=0.5 + 0.1 * rng.random(),
                    is_best=False, attempt=1, at=job.created_at)  # fmt: skip


def events_of(job: Job) -> Iterator[JobEvent]:
    for seq, event in ((1, "training:status"), (2, "training:completed")):
        data = {"job_id": str(job.pk), "status": job.status, "actor": ""}
        yield JobEvent(job_id=job.pk, seq=seq, event=event, data=data, at=job.created_at)


def datasets(owner: int, count: int) -> Iterator[Dataset]:
    rng = random.Random(8)
    for index in range(count):
        yield Dataset(
            id=UUID(int=rng.getrandbits(128), version=4), owner_id=owner, kind="synthetic",
            name=f"{rng.choice(WORDS)} {index // 2}", status="ready", content_hash=f"{index:064}",
            samples=1000 + index, facts={}, disk_bytes=10_000,
            created_at=FIRST_CREATED_AT + timedelta(minutes=index),
        )  # fmt: skip


def store(rows: Iterable[Any], model: type[Any]) -> None:
    """Insert with COPY on PostgreSQL, in batches on SQLite."""
    meta = model._meta  # noqa: SLF001
    own_keys = meta.pk.get_internal_type() == "UUIDField"
    fields = [field for field in meta.concrete_fields if own_keys or not field.primary_key]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    table = meta.db_table

    def values(row: Any) -> Sequence[Any]:
        if isinstance(row, Job):
            row.config_texts = texts_of(row.config)
        return [_to_column(field, getattr(row, field.attname)) for field in fields]

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


def _to_column(field: Any, value: Any) -> Any:
    """The value as Django stores it: SQLite has no type for a UUID or a datetime."""
    if field.get_internal_type() == "JSONField":
        return json.dumps(value)
    if connection.vendor == "postgresql":
        return value
    if isinstance(value, UUID):
        return value.hex
    return value.replace(tzinfo=None).isoformat(" ") if isinstance(value, datetime) else value


def seed(count: int, epochs: int, dataset_count: int, trials: int) -> Seeded:
    with transaction.atomic():
        factory = JobFactory(count, epochs, trials)
        jobs = list(factory.jobs())
        store(jobs, Job)
        store((epoch for job in jobs for epoch in epochs_of(job)), Epoch)
        store((event for job in jobs for event in events_of(job)), JobEvent)
        store(datasets(jobs[-1].owner_id, dataset_count), Dataset)
    # As autovacuum does it. SQLite keeps no statistics unless an operator runs ANALYZE.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    own = [job.pk for job in jobs if job.owner_id == jobs[-1].owner_id and not job.sweep_id]
    middle = jobs[count // 2]
    return Seeded(
        longest=jobs[-1].pk,
        middle=middle.pk,
        middle_created_at=middle.created_at,
        compared=own[-9:-1],
        sweep=factory.sweep.pk if factory.sweep else None,
    )


if __name__ == "__main__":
    sizes = [*map(int, sys.argv[1:]), 0, 0]
    print(seed(*sizes[:4]).model_dump_json())
