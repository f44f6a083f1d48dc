"""Shared users and fixtures; each test has its own data folder and database."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

# Before Django reads its settings, so that no other installation of this machine is used.
_DATA = Path(tempfile.mkdtemp(prefix="heimdall-tests-"))
atexit.register(shutil.rmtree, _DATA, ignore_errors=True)
_NAMED_BROKER = os.environ.pop("RABBITMQ_URL", "")
os.environ.update(
    HEIMDALL_DATA_DIR=str(_DATA),
    HEIMDALL_NO_VENV="1",
    DATABASE_URL=f"sqlite:///{_DATA}/unused.sqlite3",
    DJANGO_ALLOWED_HOSTS="testserver,127.0.0.1,localhost",
)

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.test import Client  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

from tests import broker  # noqa: E402
from tests.faults.results_table import PROPERTY, Tally, row, table  # noqa: E402
from tests.jobs import claim_job  # noqa: E402
from tests.stack import Stack, running_stack  # noqa: E402
from training.datasets import service as datasets  # noqa: E402
from training.jobs import lifecycle  # noqa: E402
from training.jobs.attempts import Attempt  # noqa: E402
from training.localization.config import GenerateConfig, TrainConfig  # noqa: E402
from training.localization.data.dataset import Dataset as Arrays  # noqa: E402
from training.localization.program import to_read_dataset  # noqa: E402
from training.localization.synthetic.generate import generate_dataset  # noqa: E402
from training.models import Dataset, Job  # noqa: E402

# xdist processes read their settings before this file, with the folder of their parent.
settings.DATA_DIR = _DATA

BROKER = "HEIMDALL_TEST_BROKER"
_private: list[broker.PrivateBroker] = []


def pytest_configure(config: pytest.Config) -> None:
    """Find a broker once; xdist processes inherit its URL."""
    if BROKER in os.environ:
        return
    url = _NAMED_BROKER or broker.HERE
    if not broker.listens(url):
        url = ""
        if not _NAMED_BROKER and broker.server_program():
            _private.append(broker.PrivateBroker().start())
            url = _private[0].url.removesuffix("/%2F")
    os.environ[BROKER] = url
    if not url and os.environ.get("HEIMDALL_REQUIRE_RABBIT") == "1":
        raise pytest.UsageError("--require-rabbit: there is no RabbitMQ, and no rabbitmq-server.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("rabbit") and not os.environ[BROKER]:
            item.add_marker(pytest.mark.skip(reason="needs RabbitMQ"))
        if item.get_closest_marker("browser") and not shutil.which("chromium"):
            item.add_marker(pytest.mark.skip(reason="needs Chromium"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in table(terminalreporter.stats.get("passed", [])):
        terminalreporter.write_line(line)


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """Record what a fault cost (`tests.faults.results_table.row`)."""

    def record(
        fault: str, tried: int, lost: str = "nothing", seconds: Sequence[float] = ()
    ) -> None:
        record_property(PROPERTY, row(fault, tried, lost, seconds))

    return record


_skipped: dict[str, int] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        _skipped[reason] = _skipped.get(reason, 0) + 1


def pytest_unconfigure(config: pytest.Config) -> None:
    for private in _private:
        private.close()
    if _skipped and not hasattr(config, "workerinput"):
        reasons = "; ".join(f"{count} skipped: {reason}" for reason, count in _skipped.items())
        print(f"Not everything was tested: {reasons}.")  # noqa: T201


@pytest.fixture(scope="session")
def amqp(worker_id: str) -> Iterator[str]:
    """The URL of a virtual host of this test process."""
    url = broker.own_vhost(os.environ[BROKER], f"heimdall_test_{worker_id}_{os.getpid()}")
    yield url
    broker.drop_vhost(url)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(worker_id: str) -> None:
    """A database file, as in production, so that threads lock each other in the same way."""
    from django.db import connections

    connections["default"].settings_dict["TEST"]["NAME"] = str(_DATA / f"{worker_id}.sqlite3")


@pytest.fixture
def private_broker() -> Iterator[broker.PrivateBroker]:
    """A broker that the test may kill or freeze."""
    if not broker.server_program():
        pytest.skip("needs a rabbitmq-server to start")
    own = broker.PrivateBroker().start()
    yield own
    own.close()


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """A fast password hash; the real one takes half a second for each user."""

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _empty_schema_cache() -> None:
    """A schema generated with the programs of an earlier test must not be served to the next."""
    from training.api.views import schema

    schema._cached.clear()


@pytest.fixture
def ada(db: None) -> User:
    """The owner of the jobs and datasets of tests."""
    return User.objects.create_user("ada", password="ada-secret-1")


@pytest.fixture
def bob(db: None) -> User:
    """A user without access to ada's objects."""
    return User.objects.create_user("bob", password="bob-secret-1")


@pytest.fixture
def staff(db: None) -> User:
    """A staff user."""
    return User.objects.create_superuser("grace", password="grace-secret-1")


@pytest.fixture
def api(ada: User) -> APIClient:
    """An API client with a token of ada."""
    client = APIClient()
    client.force_authenticate(ada)
    return client


@pytest.fixture
def page(client: Client, ada: User) -> Client:
    """A Django client with a session of ada."""
    client.force_login(ada)
    return client


@pytest.fixture(scope="session")
def arrays() -> Arrays:
    """A small synthetic dataset that trains fast."""
    return generate_dataset(GenerateConfig(samples=240, seed=3))


@pytest.fixture
def dataset(ada: User, arrays: Arrays) -> Dataset:
    """`arrays` as a stored dataset of ada."""
    return datasets.store_dataset(ada, "Small", to_read_dataset(arrays))


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    """A queued job of ada with five epochs."""
    return lifecycle.submit(ada, dataset, TrainConfig(epochs=5), "First")


@pytest.fixture
def running_attempt(job: Job) -> Attempt:
    """The first attempt of `job`, claimed by the worker "worker"."""
    return claim_job(job)


@pytest.fixture(autouse=True)
def _new_rate_limits() -> None:
    """Drop what this process has reserved: the rows behind it ended with the previous test."""
    from training.accounts.rate_limits import rate_limiter

    rate_limiter.clear()


@pytest.fixture
def no_rate_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are not counted: the number of queries does not depend on what is reserved."""
    from training.accounts.rate_limits import RateLimitResult, rate_limiter

    granted = RateLimitResult(granted=True, remaining=1, reset=60)
    monkeypatch.setattr(rate_limiter, "acquire", lambda *_: granted)


@pytest.fixture(autouse=True)
def _quiet_publisher(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the publisher's thread with the test, before the database is emptied.

    Requesting the database first makes pytest tear it down last.
    """
    if {"db", "transactional_db"} & set(request.fixturenames):
        request.getfixturevalue("_django_db_helper")
    yield
    from training.events.publisher import get_publisher

    if get_publisher.cache_info().currsize:
        get_publisher().stop(timeout=5)
        get_publisher.cache_clear()


@pytest.fixture(scope="session")
def stack(amqp: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """As in production: RabbitMQ, PostgreSQL, one web process, two workers."""
    with running_stack(tmp_path_factory.mktemp("stack"), amqp, workers=2) as running:
        yield running


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded mode: one process and SQLite."""
    with running_stack(tmp_path_factory.mktemp("embedded")) as running:
        yield running
