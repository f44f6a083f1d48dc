"""A script that Heimdall started: its messages, and where it resumes."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.sdk.supervision import Supervised
from training.programs.messages import (
    Checkpointed,
    Failed,
    Note,
    Paused,
    Points,
    Started,
    TrainingCompleted,
)

WriteScript = Callable[[str], str]


@pytest.fixture
def write_script(tmp_path: Path) -> WriteScript:
    def write(body: str) -> str:
        path = tmp_path / "script.py"
        path.write_text("import heimdall_sdk\n" + textwrap.dedent(body))
        return str(path)

    return write


def test_messages_arrive_in_the_order_of_the_training(tmp_path: Path) -> None:
    job = Supervised(tmp_path, "count.py", parameters={"epochs": 4, "lr": 2.0})

    with job.start() as attempt:
        completed = attempt.read()

    assert isinstance(attempt.received[0], Started)
    assert attempt.received[0].total_epochs == 4
    assert attempt.received[0].resumed_from_epoch is None
    assert [point.step for point in attempt.points] == list(range(1, 45))
    assert list(attempt.epochs) == [1, 2, 3, 4]
    seen: list[int | None] = []
    for message in attempt.received:
        if isinstance(message, Points):
            seen += [point.epoch for point in message.points]
        elif isinstance(message, Checkpointed):
            assert message.epoch in seen
    assert isinstance(completed, TrainingCompleted)
    assert Path(completed.checkpoint_path).name == "best-000003.safetensors"
    assert "end False" in attempt.output


def test_parameters_of_the_job_replace_the_configuration(tmp_path: Path) -> None:
    weights = []
    for lr in (1.0, 2.0):
        job = Supervised(tmp_path / str(lr), "count.py", parameters={"epochs": 1, "lr": lr})
        with job.start() as attempt:
            attempt.read()
        weights.append(attempt.epochs[1]["weight"])

    assert weights[1] == 2 * weights[0]


def test_loss_that_requires_a_gradient_is_reported_without_a_warning(
    tmp_path: Path, write_script: WriteScript
) -> None:
    script = write_script("""
        import torch, warnings
        warnings.simplefilter("error")
        with heimdall_sdk.init() as run:
            run.log(epoch=1, loss=2 * torch.ones((), requires_grad=True))
    """)
    with Supervised(tmp_path, script).start() as attempt:
        attempt.read()
    assert attempt.epochs[1] == {"loss": 2.0}, attempt.output
    assert attempt.output == ""


def test_epoch_of_a_loader_with_persistent_workers_is_the_same_after_a_resume(
    tmp_path: Path, write_script: WriteScript
) -> None:
    """Creating workers draws a number, which shifted the shuffling after it."""
    script = write_script("""
        import random, sys, torch
        class Data(torch.utils.data.Dataset):
            def __len__(self): return 32
            def __getitem__(self, index): return index + random.random() + torch.rand(()).item()
        class Wrapper:
            def __init__(self, loader): self.loader = loader
        loader = torch.utils.data.DataLoader(
            Data(), batch_size=8, shuffle=True, num_workers=2, persistent_workers=True)
        with heimdall_sdk.init() as run:
            for epoch in range(run.config["first"], 4):
                run.seed_epoch(epoch, Wrapper(loader))
                values = [value for batch in loader for value in batch.tolist()]
                run.log(epoch=epoch, **{f"v{index}": value for index, value in enumerate(values)})
    """)
    seen = []
    for first in (1, 2):
        job = Supervised(tmp_path / str(first), script, parameters={"first": first})
        with job.start() as attempt:
            attempt.read()
        seen.append(attempt.epochs)
    assert list(seen[0]) == [1, 2, 3], attempt.output
    assert len(seen[0][1]) == 32
    assert seen[1] == {epoch: seen[0][epoch] for epoch in (2, 3)}


def test_pause_takes_effect_after_the_checkpoint_and_resumes_exactly(tmp_path: Path) -> None:
    with Supervised(tmp_path / "whole", "count.py").start() as whole:
        whole.read()
    job = Supervised(tmp_path / "paused", "count.py", parameters={"seconds": 0.2})

    with job.start() as first:
        first.read(lambda message: isinstance(message, Checkpointed))
        first.pause()
        end = first.read()
        job.keep(first)
    with job.start() as second:
        second.read()

    assert isinstance(end, Paused)
    assert isinstance(first.received[-2], Checkpointed)
    started = second.received[0]
    assert isinstance(started, Started)
    assert started.resumed_from_epoch == first.received[-2].epoch
    assert {**first.epochs, **second.epochs} == whole.epochs
    assert second.points[0].step == first.points[-1].step + 1


def test_training_with_missing_checkpoints_restarts_from_the_beginning_with_a_note(
    tmp_path: Path,
) -> None:
    """After a restore of the database, the job may name a file that was deleted since."""
    job = Supervised(tmp_path, "count.py", parameters={"seconds": 0.2})
    with job.start() as first:
        first.read(lambda message: isinstance(message, Checkpointed))
        first.pause()
        first.read()
        job.keep(first)
    for path in tmp_path.rglob("*.safetensors*"):
        path.unlink()
    with job.start() as second:
        second.read()

    assert isinstance(second.received[-1], TrainingCompleted), second.output
    assert {**first.epochs, **second.epochs} == second.epochs
    (note,) = (message for message in second.received if isinstance(message, Note))
    assert note.message.endswith(" is missing; starting from epoch 1.")


@pytest.mark.parametrize("is_first_known", [False, True])
def test_epochs_that_heimdall_never_received_are_trained_again(
    tmp_path: Path, is_first_known: bool
) -> None:
    """While the database is unavailable a training runs ahead of it, and its files do too."""
    job = Supervised(tmp_path, "count.py", parameters={"epochs": 5, "seconds": 0.2})
    with job.start() as first:
        first.read()
    checkpoints = [message for message in first.received if isinstance(message, Checkpointed)]
    known = 0
    if is_first_known:
        known, job.checkpoint = checkpoints[0].epoch, checkpoints[0].path

    with job.start() as second:
        second.read()

    assert isinstance(second.received[-1], TrainingCompleted), second.output
    assert known < 5
    assert second.epochs == {
        epoch: values for epoch, values in first.epochs.items() if epoch > known
    }


def test_pause_writes_the_checkpoint_that_the_script_would_write_later(tmp_path: Path) -> None:
    parameters = {"seconds": 0.1, "every": 100, "epochs": 20}
    job = Supervised(tmp_path, "count.py", parameters=parameters)

    with job.start() as first:
        first.read(lambda message: isinstance(message, Points))
        first.pause()
        end = first.read()
        job.keep(first)
    with job.start() as second:
        second.read(lambda message: isinstance(message, Started))

    assert isinstance(end, Paused)
    assert isinstance(second.received[0], Started)
    assert second.received[0].resumed_from_epoch == max(first.epochs)


@pytest.mark.parametrize(
    ("script", "arguments", "kills"), [("count.py", (), 8), ("network.py", ("2",), 2)]
)
@pytest.mark.timeout(300)
def test_kills_at_random_moments_change_no_result(
    tmp_path: Path, script: str, arguments: tuple[str, ...], kills: int
) -> None:
    parameters = {"epochs": 12, "seconds": 0.04}
    with Supervised(tmp_path / "whole", script, *arguments, parameters=parameters).start() as whole:
        whole.read()
    job = Supervised(tmp_path / "killed", script, *arguments, parameters=parameters)
    moments = random.Random(5)
    epochs: dict[int, object] = {}

    for _ in range(kills):
        with job.start() as attempt:
            attempt.read(lambda message: isinstance(message, Started))
            attempt.read(lambda message: False, seconds=moments.uniform(0, 0.3))
            attempt.kill()
            attempt.read()
            job.keep(attempt)
        for epoch, values in attempt.epochs.items():
            assert epochs.setdefault(epoch, values) == values
    with job.start() as last:
        completed = last.read()

    assert isinstance(completed, TrainingCompleted), last.output
    assert Path(completed.checkpoint_path).parent == Path(last.log).parent
    assert {**epochs, **last.epochs} == whole.epochs


def test_process_ends_with_its_supervisor(tmp_path: Path) -> None:
    job = Supervised(tmp_path, "count.py", parameters={"seconds": 60.0})

    with job.start() as attempt:
        attempt.read(lambda message: isinstance(message, Started))
        attempt.close_stdin()

        assert attempt.exit_status() == 3


def test_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path: Path) -> None:
    job = Supervised(tmp_path, "count.py", parameters={"epochs": 3, "seconds": 0.2})
    with job.start() as first:
        first.read()
        job.keep(first)
    assert job.checkpoint is not None
    damaged = Path(job.checkpoint)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")

    with job.start() as second:
        second.read()

    notes = [message for message in second.received if isinstance(message, Note)]
    assert "epoch-000003.safetensors is damaged" in notes[0].message
    assert "continuing from epoch 2" in notes[0].message
    assert second.epochs == {3: first.epochs[3]}


def test_without_any_intact_checkpoint_the_job_fails(tmp_path: Path) -> None:
    job = Supervised(tmp_path, "count.py", parameters={"epochs": 2})
    with job.start() as first:
        first.read()
        job.keep(first)
    for path in (tmp_path / "1").glob("*.safetensors"):
        path.write_bytes(b"")

    with job.start() as second:
        failed = second.read()

    assert isinstance(failed, Failed)
    assert failed.error_message.startswith("No checkpoint can be read: ")


def test_new_job_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    with Supervised(tmp_path / "first", "count.py", parameters={"epochs": 2}).start() as first:
        first.read()
    job = Supervised(
        tmp_path / "second", "count.py", parameters={"epochs": 1},
        init_from=first.newest_checkpoint,
    )  # fmt: skip

    with job.start() as second:
        second.read()

    assert isinstance(second.received[0], Note)
    assert second.received[0].message.startswith("Weights of model were taken from")
    assert second.epochs[1]["weight"] > first.epochs[2]["weight"]
    assert second.points[0].step == 1


def test_short_epochs_share_a_checkpoint_and_keep_the_best(tmp_path: Path) -> None:
    job = Supervised(tmp_path, "count.py", parameters={"epochs": 200})

    with job.start() as attempt:
        completed = attempt.read()

    written = [message for message in attempt.received if isinstance(message, Checkpointed)]
    assert written[-1].epoch == 200
    assert len(written) < 100
    assert isinstance(completed, TrainingCompleted)
    assert completed.checkpoint_path.endswith("best-000003.safetensors")


def test_full_disk_fails_the_job_with_the_reason(tmp_path: Path, write_script: WriteScript) -> None:
    script = write_script(
        """
        import resource
        with heimdall_sdk.init() as run:
            run.checkpoint(1, values=list(range(10)))
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
            run.checkpoint(2, values=list(range(10)))
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        failed = attempt.read()

    assert isinstance(failed, Failed)
    assert "The checkpoint of epoch 2 cannot be written" in failed.error_message
    assert not list((tmp_path / "1").glob("*.part"))


def test_object_that_cannot_be_stored_fails_the_job(
    tmp_path: Path, write_script: WriteScript
) -> None:
    script = write_script(
        """
        with heimdall_sdk.init() as run:
            run.checkpoint(1, model={"layers": [open]})
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        failed = attempt.read()

    assert isinstance(failed, Failed)
    assert failed.error_message.startswith("model.layers[0] is of type builtins")


def test_other_exceptions_leave_the_outcome_to_the_supervisor(
    tmp_path: Path, write_script: WriteScript
) -> None:
    script = write_script(
        """
        run = heimdall_sdk.init()
        run.log(epoch=1, loss=1)
        raise ValueError("bad luck")
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        assert attempt.read() is None
        assert attempt.exit_status() == 1

    assert attempt.epochs == {1: {"loss": 1.0}}
    assert "ValueError: bad luck" in attempt.output


@pytest.mark.parametrize(
    ("end", "completes"), [("", True), ("sys.exit()", True), ("sys.exit(2)", False)]
)
def test_run_without_with_block_ends_with_the_script(
    tmp_path: Path, write_script: WriteScript, end: str, completes: bool
) -> None:  # fmt: skip
    script = write_script(f"import sys\nrun = heimdall_sdk.init()\nrun.log(loss=1)\n{end}\n")

    with Supervised(tmp_path, script).start() as attempt:
        final = attempt.read()

    assert isinstance(final, TrainingCompleted) == completes
    assert len(attempt.points) == 1


def test_script_reads_end_of_file_from_stdin(tmp_path: Path, write_script: WriteScript) -> None:
    script = write_script(
        """
        import sys
        with heimdall_sdk.init() as run:
            run.log(characters=len(sys.stdin.read()))
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        assert attempt.read() is not None

    assert attempt.points[0].values == {"characters": 0.0}


def test_nan_infinity_and_values_that_are_not_numbers_are_reported(
    tmp_path: Path, write_script: WriteScript
) -> None:
    script = write_script(
        """
        import numpy as np
        with heimdall_sdk.init() as run:
            run.log({"a/b": float("nan"), "c": {"d": -np.inf}}, e=np.float32(1), f="x", g=True)
            run.log({}, step=np.int64(7), h=10**400, i=3)
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        assert attempt.read() is not None

    first, second = attempt.points
    assert first.values == {"a/b": "NaN", "c/d": "-Infinity", "e": 1.0, "g": 1.0}
    assert (second.step, second.values) == (7, {"i": 3.0})
    assert "f is a str, not a number" in attempt.output


def test_forked_and_spawned_processes_report_nothing(
    tmp_path: Path, write_script: WriteScript
) -> None:
    script = write_script(
        """
        import multiprocessing
        run = heimdall_sdk.init()

        def child(run):
            if run is None:
                run = heimdall_sdk.init()
            run.log(child=1)
            run.checkpoint(9, a=1)
            run.finish()

        if __name__ == "__main__":
            run.log(parent=1)
            for kind, argument in (("fork", run), ("spawn", None)):
                process = multiprocessing.get_context(kind).Process(target=child, args=(argument,))
                process.start()
                process.join()
                assert process.exitcode == 0
            run.log(parent=2)
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        assert isinstance(attempt.read(), TrainingCompleted), attempt.output

    assert [point.values for point in attempt.points] == [{"parent": 1.0}, {"parent": 2.0}]
    assert attempt.newest_checkpoint is None


def test_fork_during_a_checkpoint_does_not_block_the_child(
    tmp_path: Path, write_script: WriteScript
) -> None:
    script = write_script(
        """
        import os
        with heimdall_sdk.init() as run:
            for epoch in range(300):
                run.checkpoint(epoch, values=[0.5] * 10)
                child = os.fork()
                if not child:
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        assert isinstance(attempt.read(), TrainingCompleted), attempt.output


def test_artifact_is_copied_into_the_folder_of_the_attempt(
    tmp_path: Path, write_script: WriteScript
) -> None:
    script = write_script(
        """
        import pathlib
        folder = pathlib.Path("out")
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "a.txt").write_text("a")
        with heimdall_sdk.init() as run:
            run.log_artifact(folder, "results")
            run.log_artifact(folder / "deep" / "a.txt")
            run.log_artifact("missing")
            run.log_artifact(folder / "deep" / "a.txt", "../a.txt")
        """
    )

    with Supervised(tmp_path, script).start() as attempt:
        assert attempt.read() is not None

    artifacts = tmp_path / "1" / "artifacts"
    found = sorted(p.relative_to(artifacts).as_posix() for p in artifacts.rglob("*.txt"))
    assert found == ["a.txt", "results/deep/a.txt"]
    assert "log_artifact: missing" in attempt.output
    assert "must be a relative path" in attempt.output


def test_ranks_of_torchrun_send_once_and_stop_together(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    job = Supervised(tmp_path, "ranks.py", launcher=launcher)

    with job.start() as first:
        first.read(lambda message: isinstance(message, Checkpointed))
        first.pause()
        end = first.read()
        job.keep(first)
    with job.start() as second:
        second.read(lambda message: isinstance(message, Checkpointed))

    assert isinstance(end, Paused), first.output
    epochs = [point.epoch for point in first.points if point.epoch is not None]
    assert len(epochs) == len(first.points)
    assert epochs == sorted(set(epochs))
    assert isinstance(second.received[0], Started)
    assert second.received[0].resumed_from_epoch == epochs[-1]
