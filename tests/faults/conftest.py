"""A broker, a database and processes that tests may kill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.broker import PrivateBroker, server_program
from tests.faults.job_observation import CONFIG, epoch_results
from tests.stack import Stack, running_stack


@pytest.fixture(scope="session")
def broker() -> Iterator[PrivateBroker]:
    if not server_program():
        pytest.skip("needs a rabbitmq-server to start")
    broker = PrivateBroker().start()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def disturbed(broker: PrivateBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One web process and one worker, which each test leaves running."""
    with running_stack(tmp_path_factory.mktemp("disturbed"), broker.url, workers=1) as stack:
        yield stack


@pytest.fixture(scope="session")
def undisturbed(disturbed: Stack) -> list[Any]:
    """The results of a job without a fault."""
    return epoch_results(disturbed, disturbed.submit(**CONFIG))
