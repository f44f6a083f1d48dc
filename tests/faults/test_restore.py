"""After a restore from a backup, every client has the events of the restored database."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import broker as brokers
from tests.faults.event_clients import EventClient, Events, SocketClient, StreamClient
from tests.faults.job_observation import CONFIG, epoch_results, wait_for_epoch
from tests.stack import Stack, postgres_is_available, running_stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.postgres,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(not postgres_is_available(), reason="needs PostgreSQL"),
    pytest.mark.skipif(not shutil.which("pg_restore"), reason="needs pg_dump and pg_restore"),
]
CONFIGURATION = {**CONFIG, "epochs": 60, "patience": 60}


@pytest.fixture
def stack(broker: brokers.PrivateBroker, tmp_path: Path) -> Iterator[Stack]:
    with running_stack(tmp_path / "data", broker.url, workers=1) as stack:
        yield stack


def back_up(stack: Stack, folder: Path) -> None:
    folder.mkdir()
    database = stack.environment["DATABASE_URL"]
    dump = ["pg_dump", "--format=custom", f"--file={folder / 'heimdall.dump'}", database]
    subprocess.run(dump, check=True)
    shutil.copytree(stack.folder, folder / "data", ignore=shutil.ignore_patterns("*.log"))


def restore(stack: Stack, folder: Path) -> None:
    database = stack.environment["DATABASE_URL"]
    dump = str(folder / "heimdall.dump")
    command = ["pg_restore", "--clean", "--if-exists", f"--dbname={database}", dump]
    subprocess.run(command, check=True)
    for path in (folder / "data").iterdir():
        if path.is_dir():
            shutil.rmtree(stack.folder / path.name, ignore_errors=True)
            shutil.copytree(path, stack.folder / path.name)


def ends_with_a_status(client: EventClient) -> bool:
    return bool(client.events) and client.events[-1]["event"] == "training:status"


@pytest.mark.parametrize("web_keeps_running", [False, True])
def test_every_client_converges_on_the_restored_database(
    stack: Stack,
    tmp_path: Path,
    web_keeps_running: bool,
) -> None:
    expected = epoch_results(stack, stack.submit(**CONFIGURATION))
    job_id = stack.submit(**CONFIGURATION)
    backup = tmp_path / "backup"

    async def restore_while_clients_follow() -> list[Events]:
        clients: list[EventClient] = [
            SocketClient(lambda: stack, job_id),
            StreamClient(lambda: stack, job_id),
        ]
        following = asyncio.gather(*(client.follow() for client in clients))
        await asyncio.to_thread(wait_for_epoch, stack, job_id, 5)
        # A running job replaces its checkpoints between the dump and the copy.
        with stack.api() as api:
            api.post(f"/jobs/{job_id}/pause").raise_for_status()
            await asyncio.to_thread(stack.until, job_id, "paused")
            await asyncio.to_thread(back_up, stack, backup)
            api.post(f"/jobs/{job_id}/resume").raise_for_status()
        await asyncio.to_thread(wait_for_epoch, stack, job_id, 20)
        stack.stop_workers()
        while not all(map(ends_with_a_status, clients)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        seen = min(len(client.events) for client in clients)
        if not web_keeps_running:
            assert stack.web is not None
            stack.web.kill()
            stack.web.wait()
        await asyncio.to_thread(restore, stack, backup)
        if not web_keeps_running:
            await asyncio.to_thread(stack.start_web)
        assert stack.job(job_id)["seq"] < seen
        await asyncio.to_thread(stack.start_worker)
        with stack.api() as api:
            api.post(f"/jobs/{job_id}/resume").raise_for_status()
        async with asyncio.timeout(240):
            await following
        return [client.events for client in clients]

    for events in asyncio.run(restore_while_clients_follow()):
        assert events == stack.events(job_id)
    assert epoch_results(stack, job_id) == expected
