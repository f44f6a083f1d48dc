"""Samples in blocks, and as columns for a chart."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from training.jobs import system_figures
from training.jobs.system_figures import BLOCK_LENGTH, Sample, SampleStore
from training.models import Job, SystemBlock

pytestmark = pytest.mark.django_db
START = 1_800_000_000.0


def samples(count: int, start: float = START, **figures: float) -> list[Sample]:
    return [
        Sample(start + 5 * row, {"cpu_percent": row, "memory_rss": 1e9 + row, **figures})
        for row in range(count)
    ]


def test_samples_are_returned_as_columns(job: Job) -> None:
    SampleStore(job.pk, 1).add(samples(3))
    found = system_figures.columns(job, 100)
    assert found.seconds == [0, 5, 10]
    assert found.time == [START, START + 5, START + 10]
    assert found.attempt == [1, 1, 1]
    assert found.series == {"cpu_percent": [0, 1, 2], "memory_rss": [1e9, 1e9, 1e9]}
    assert found.total == 3
    assert found.peak_memory == 1_000_000_002


def test_block_grows_until_it_is_full(job: Job) -> None:
    store = SampleStore(job.pk, 1)
    for sample in samples(2 * BLOCK_LENGTH + 1):
        store.add([sample])
    assert [len(one.samples["at"]) for one in SystemBlock.objects.filter(job=job)] == [60, 60, 1]
    assert system_figures.columns(job, 1000).series["cpu_percent"] == list(range(121))


def test_columns_include_later_attempts_and_metrics(job: Job) -> None:
    SampleStore(job.pk, 1).add(samples(2))
    SampleStore(job.pk, 2).add(samples(2, START + 100, gpu0_percent=50.0))
    found = system_figures.columns(job, 100)
    assert found.attempt == [1, 1, 2, 2]
    assert found.series["gpu0_percent"] == [None, None, 50, 50]


def test_shared_memory_counts_once_if_known(job: Job) -> None:
    SampleStore(job.pk, 1).add(samples(2, memory_pss=5e8))
    assert system_figures.columns(job, 100).peak_memory == 500_000_000


def test_many_samples_keep_their_peak_in_few_points(job: Job) -> None:
    store = SampleStore(job.pk, 1)
    store.add(samples(500))
    store.add([Sample(START + 2500, {"cpu_percent": 9000, "memory_rss": 1.0})])
    store.add(samples(500, START + 2505))
    found = system_figures.columns(job, 50)
    assert found.total == 1001
    assert len(found.seconds) <= 50
    assert 9000 in found.series["cpu_percent"]


def test_history_version_changes_with_each_sample(job: Job, ada: User) -> None:
    store, versions = SampleStore(job.pk, 1), [system_figures.version(job)]
    for sample in samples(3):
        store.add([sample])
        versions.append(system_figures.version(job))
    assert len(set(versions)) == 4


def test_job_without_samples_has_empty_columns(job: Job) -> None:
    assert system_figures.columns(job, 100).as_json() == {
        "time": [], "seconds": [], "attempt": [], "series": {}, "total": 0, "peak_memory": None,
    }  # fmt: skip
