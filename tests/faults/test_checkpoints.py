"""Truncated and damaged checkpoints and a full disk never cause a silent restart."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from heimdall_sdk.checkpoint_names import EPOCHS, checkpoint_epoch, newest_first
from tests.faults.disk import full, small_disk
from tests.faults.job_observation import CONFIG, epoch_results, started_events, wait_for_epoch
from tests.faults.results_table import Tally, scaled
from tests.stack import Stack
from training.localization.checkpoints.store import Store

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]
WRITER = """
import sys
from pathlib import Path
from training.localization.checkpoints.store import Store
from training.localization.config import GenerateConfig, TrainConfig
from training.localization.fit.state import TrainState
from training.localization.synthetic.generate import generate_dataset
config = TrainConfig(hidden=16, heads=2, layers=1)
state = TrainState.initial(config, generate_dataset(GenerateConfig(samples=100)))
state.epoch = int(sys.argv[2])
print("ready", flush=True)
while True:
    Store(Path(sys.argv[1])).save(state, state.finish_epoch(1 / (state.epoch + 1)))
"""


def test_killing_the_writer_at_any_moment_leaves_a_loadable_checkpoint(
    tmp_path: Path, tally: Tally
) -> None:
    rng, epoch = random.Random(3), 0
    for _ in range(times := scaled(3, 25)):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(epoch)],
            stdout=subprocess.PIPE,
            cwd=settings.BASE_DIR,
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(rng.uniform(0.05, 0.5))
            writer.kill()
        newest = max(tmp_path.glob("epoch-*.safetensors"))
        resumed = Store(tmp_path).resume(newest)
        assert resumed.unusable == [] and resumed.state
        epoch = resumed.state.epoch
        assert epoch == resumed.state.best_epoch
    tally("killed while writing a checkpoint: it loads", times)


def paused(stack: Stack, epoch: int, **config: Any) -> str:
    job_id = stack.submit(**{**CONFIG, **config})
    wait_for_epoch(stack, job_id, epoch)
    ask(stack, job_id, "pause")
    stack.until(job_id, "paused")
    return job_id


def ask(stack: Stack, job_id: str, what: str) -> None:
    with stack.api() as api:
        assert api.post(f"/jobs/{job_id}/{what}").status_code == 202


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_flipped_bit_falls_back_to_previous_checkpoint_with_a_note(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    job_id = paused(disturbed, 5)
    newest = Path(disturbed.job(job_id)["checkpoint_path"])
    before = checkpoint_epoch(newest_first([newest.parent], EPOCHS)[1])
    flip_a_bit(newest)
    ask(disturbed, job_id, "resume")
    assert epoch_results(disturbed, job_id) == undisturbed
    (_, again) = started_events(disturbed, job_id)
    assert again["data"]["resumed_from_epoch"] == before
    reasons = [event["data"].get("reason", "") for event in disturbed.events(job_id)]
    (damage,) = (reason for reason in reasons if "is damaged" in reason)
    assert f"resuming from epoch {before}" in damage
    tally("checkpoint with a flipped bit: the one before, and an event", 1)


def test_job_fails_with_the_reason_if_no_checkpoint_loads(disturbed: Stack, tally: Tally) -> None:
    job_id = paused(disturbed, 5)
    for path in Path(disturbed.job(job_id)["checkpoint_path"]).parent.glob("*.safetensors"):
        flip_a_bit(path)
    ask(disturbed, job_id, "resume")
    job = disturbed.until(job_id, "failed")
    assert "No checkpoint can be loaded" in job["error_message"]
    assert job["current_epoch"] >= 5
    tally("no checkpoint that loads: failed, with the reason", 1)


def test_full_disk_fails_the_job_which_resumes_once_there_is_space(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    disturbed.stop_workers()
    job_id = disturbed.submit(**CONFIG)
    folder = disturbed.folder / "jobs" / job_id
    with small_disk(folder, "4m") as mounted:
        if not mounted:
            pytest.skip("needs to mount a small disk")
        disturbed.start_worker()
        wait_for_epoch(disturbed, job_id, 5)
        with full(folder / "filler"):
            job = disturbed.until(job_id, "failed")
        assert "The disk of the data folder was full for 30 s." in job["error_message"]
        reasons = [event["data"].get("reason") or "" for event in disturbed.events(job_id)]
        (reason,) = (text for text in reasons if "No space left on device" in text)
        assert "cannot be written" in reason
        ask(disturbed, job_id, "resume")
        assert epoch_results(disturbed, job_id) == undisturbed
    tally("disk full: failed with the reason; with room it goes on", 1)
