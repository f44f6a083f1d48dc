"""Each point of a reported run is stored once although the web process is killed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from heimdall_sdk.sync import sync_spool
from tests.faults.reported_run import expected_points, reported_job, start, stored_points
from tests.faults.results_table import Tally, scaled
from tests.polling import eventually
from tests.stack import running_stack

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.rabbit)])
def test_no_point_is_lost_or_doubled_when_the_server_is_killed(
    database: str, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally
) -> None:
    count, seconds = 100_000, scaled(12, 120)
    amqp = request.getfixturevalue("amqp") if database == "postgres" else ""
    folder = tmp_path / "server"
    folder.mkdir()
    rng, kills = random.Random(1), scaled(2, 10)
    with running_stack(folder, amqp) as stack:
        process = start(stack, tmp_path, count, seconds)
        eventually(lambda: reported_job(stack), message="the script did not register")
        for _ in range(kills):
            time.sleep(rng.uniform(0.5, seconds / kills / 2))
            assert stack.web
            stack.web.kill()
            stack.web.wait()
            time.sleep(rng.uniform(0.5, seconds / kills / 2))
            stack.start_web()
        assert process.wait(timeout=120) == 0, (tmp_path / "errors").read_text()
        # What the script could not send before it ended.
        sync_spool(stack.url, stack.tokens["ada"], tmp_path / "spool")
        job = stack.until(reported_job(stack)["id"], "completed")
        assert job["summary"]["other"] == count
        assert (job["current_epoch"], job["best_epoch"]) == (100, None)
        assert stored_points(stack, job["id"]) == expected_points(count)
        events = [event for event in stack.events(job["id"]) if "epoch" in event["data"]]
        epochs = [
            event["data"]["epoch"] for event in events if "val_loss" in event["data"]["metrics"]
        ]
        # An epoch is sent again when a later batch adds to it.
        assert list(dict.fromkeys(epochs)) == list(range(1, 101))
        log = stack.folder / "jobs" / job["id"] / "attempt-001" / "trainer.log"
        printed = [line for line in log.read_text().splitlines() if line.startswith("epoch")]
        assert printed == [f"epoch {number}" for number in range(1, 101)]
    tally(f"web process of a reported run, kill -9, {database}", kills)
