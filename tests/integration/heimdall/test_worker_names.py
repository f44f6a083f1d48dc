"""Workers on one machine that are started with the same command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.polling import eventually
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.rabbit, pytest.mark.timeout(240)]


@pytest.fixture
def own(amqp: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("names"), amqp) as running:
        yield running


@pytest.mark.parametrize("name", ["celery@%h", "same@%h"])  # the first is Celery's default
def test_two_workers_of_one_name_both_take_jobs(own: Stack, name: str) -> None:
    for _ in range(2):
        own.start_worker("--hostname", name, HEIMDALL_JOBS_AT_ONCE="1")
    jobs = [own.submit(epochs=100_000, patience=100_000, batch_size=16) for _ in range(2)]
    eventually(lambda: all(own.job(job)["status"] == "running" for job in jobs), 60)
    if name == "celery@%h":
        assert len({own.job(job)["worker"] for job in jobs}) == 2
    with own.api() as api:
        for job in jobs:
            api.post(f"/jobs/{job}/cancel")
