"""A broker, a database and processes that may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.broker import PrivateBroker, server_program
from tests.faults.jobs import CONFIG, epoch_results
from tests.served import served
from tests.stack import Stack


@pytest.fixture(scope="session")
def broker() -> Iterator[PrivateBroker]:
    if not server_program():
        pytest.skip("needs a rabbitmq-server to start")
    broker = PrivateBroker().start()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def disturbed(broker: PrivateBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One web process and one worker; each test leaves as much behind."""
    with served(tmp_path_factory.mktemp("disturbed"), broker.url, workers=1) as stack:
        yield stack


@pytest.fixture(scope="session")
def undisturbed(disturbed: Stack) -> list[Any]:
    """What a job comes to that nothing happens to."""
    return epoch_results(disturbed, disturbed.submit(**CONFIG))
