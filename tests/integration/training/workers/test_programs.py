"""Programs of the operator as real processes: scripts that do not use the SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from pytest_django import Settings

from tests.jobs import claim_job, reload
from tests.polling import eventually
from training.accounts import tokens
from training.jobs import lifecycle, results
from training.jobs.attempts import Attempt
from training.jobs.directories import attempt_directory
from training.models import ApiToken, Job, JobEvent, TrainedModel
from training.models.states import Status
from training.programs.registry import get_program
from training.workers.supervisor import _note_few_cores, _run_spec, supervise
from training.workers.trainer_process import TrainerProcess

pytestmark = pytest.mark.django_db(transaction=True)
MANIFEST = """
title = "Script"
command = ["python", "train.py"]
[parameters]
count = { type = "integer", default = 3 }
"""


@pytest.fixture(autouse=True)
def no_other_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)


@pytest.fixture
def submit(tmp_path: Path, settings: Settings, ada: User) -> Any:
    settings.PROGRAMS_DIR = tmp_path

    def submit(script: str, manifest: str = MANIFEST, **values: Any) -> Job:
        folder = tmp_path / "script"
        folder.mkdir()
        (folder / "program.toml").write_text(manifest)
        (folder / "train.py").write_text(script)
        parameters = get_program("script").parameters(**values)
        return lifecycle.submit(ada, None, parameters, "Mine", program="script")

    return submit


def log(job: Job) -> str:
    return (attempt_directory(job.pk, 1) / "trainer.log").read_text()


def test_script_that_exits_with_status_0_completes(submit: Any) -> None:
    job = submit("print('hello')")
    supervise(job.pk, "worker")
    job = reload(job)
    assert (job.status, job.error_message) == (Status.COMPLETED, "")
    assert log(job) == "hello\n"
    assert not TrainedModel.objects.exists()


def test_training_continues_while_its_messages_are_not_read(submit: Any, tmp_path: Path) -> None:
    """The supervisor waits for the database: a pipe of 64 kB is full after some 60 epochs."""
    job = submit(
        "import os, pathlib, time\n"
        "os.write(int(os.environ['HEIMDALL_MESSAGES_FD']), b'x' * 900_000)\n"
        "pathlib.Path('written').touch()\n"
        "time.sleep(60)"
    )
    with TrainerProcess(_run_spec(job, tmp_path / "run"), tmp_path / "run"):
        eventually((tmp_path / "script" / "written").exists)


def test_more_processes_than_cores_are_noted(
    job: Job, running_attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    _note_few_cores(running_attempt, job, "worker")
    assert not JobEvent.objects.filter(data__cause="note").exists()
    job.processes = 3
    _note_few_cores(running_attempt, job, "worker")
    note = JobEvent.objects.get(data__cause="note")
    assert note.data["reason"].startswith("3 processes share 2 cores. ")


def test_script_that_raises_fails_with_the_last_line_of_the_traceback(
    submit: Any, settings: Settings
) -> None:
    settings.MAX_CRASHES = 1
    job = submit("raise ValueError('no data')")
    supervise(job.pk, "worker")
    job = reload(job)
    assert job.status == Status.FAILED
    assert "ValueError: no data" in job.error_message


def test_script_runs_in_its_folder_and_finds_spec_and_sdk(submit: Any) -> None:
    job = submit(
        "import json, os, heimdall_sdk\n"
        "spec = json.load(open(os.environ['HEIMDALL_SPEC']))\n"
        "print(os.path.exists('program.toml'), spec['parameters'], spec['job_id'])",
        count=7,
    )
    supervise(job.pk, "worker")
    assert log(job) == f"True {{'count': 7}} {job.pk}\n"


def test_script_with_command_line_options_gets_the_parameters_of_the_job(submit: Any) -> None:
    job = submit(
        "import sys; print(sys.argv[1:])",
        MANIFEST.replace(
            '"train.py"]',
            '"train.py", "--count={count}", "--out={run_directory}", "--fast={fast}"]',
        ) + 'fast = { type = "boolean", default = false }',
        count=7, fast=True,
    )  # fmt: skip
    supervise(job.pk, "worker")
    assert log(job) == f"['--count=7', '--out={attempt_directory(job.pk, 1)}', '--fast']\n"


def test_next_attempt_finds_files_of_earlier_ones_in_the_job_folder(
    submit: Any, settings: Settings
) -> None:
    """A script that was killed in its last step loads what it saved before."""
    settings.MAX_CRASHES = 2
    job = submit(
        "import pathlib, sys\n"
        "best = pathlib.Path(sys.argv[1], 'model.pt')\n"
        "print(best.exists())\n"
        "if not best.exists():\n"
        "    best.touch()\n"
        "    sys.exit(1)",
        MANIFEST.replace('"train.py"]', '"train.py", "{job_directory}"]'),
    )
    supervise(job.pk, "worker")
    assert reload(job).status == Status.QUEUED
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    assert (attempt_directory(job.pk, 2) / "trainer.log").read_text() == "True\n"


def test_job_queued_before_its_command_named_a_parameter_gets_the_default(
    submit: Any, tmp_path: Path
) -> None:
    job = submit("import sys; print(sys.argv[1:])", count=7)
    text = MANIFEST.replace('"train.py"]', '"train.py", "--more={more}"]')
    (tmp_path / "script" / "program.toml").write_text(
        text + 'more = { type = "integer", default = 5 }'
    )
    supervise(job.pk, "worker")
    assert log(job) == "['--more=5']\n"


def test_job_without_a_value_for_its_changed_command_fails_with_a_sentence(
    submit: Any, tmp_path: Path
) -> None:
    job = submit("print(1)")
    text = MANIFEST.replace('"train.py"]', '"train.py", "--more={more}"]')
    (tmp_path / "script" / "program.toml").write_text(text + 'more = { type = "integer" }')
    supervise(job.pk, "worker")
    job = reload(job)
    assert (job.status, job.attempt) == (Status.FAILED, 1)
    assert job.error_message.startswith("The program's command uses the parameter 'more'")


def test_secrets_of_the_worker_are_not_in_the_environment(
    submit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SECRET_KEY", "hidden-value")
    monkeypatch.setenv("DATABASE_URL", "postgres://hidden-value@host/db")
    job = submit("import os; print(*os.environ.values())")
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    assert "hidden-value" not in log(job)


def test_missing_program_fails_with_a_sentence(
    submit: Any, settings: Settings, tmp_path: Path
) -> None:
    settings.MAX_CRASHES = 1
    job = submit("print(1)")
    settings.PROGRAMS_DIR = None
    supervise(job.pk, "worker")
    job = reload(job)
    assert job.status == Status.FAILED
    assert "Unknown program 'script'; installed: localizer." in job.error_message


SDK_SCRIPT = """
import time
import heimdall_sdk
class Counter:
    value = 0
    def state_dict(self): return {"value": self.value}
    def load_state_dict(self, state): self.value = state["value"]
with heimdall_sdk.init() as run:
    counter = Counter()
    for epoch in run.epochs(run.restore(counter=counter), run.config["count"]):
        counter.value += 1
        run.log(epoch=epoch, loss=1 / counter.value, odd=float("nan"))
        run.checkpoint(epoch, counter=counter)
        time.sleep(0.12)  # shorter epochs share a checkpoint
"""
RESUMABLE = MANIFEST.replace(
    "[parameters]", 'resumable = true\nobjective = { metric = "loss" }\n[parameters]'
)


def test_sdk_run_keeps_the_newest_two_checkpoints_and_the_best(submit: Any) -> None:
    job = submit(SDK_SCRIPT, RESUMABLE, count=6)
    supervise(job.pk, "worker")
    job = reload(job)
    assert (job.status, job.current_epoch, job.best_epoch) == (Status.COMPLETED, 6, 6)
    folder = attempt_directory(job.pk, 1)
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "best-000006.safetensors", "epoch-000005.safetensors", "epoch-000006.safetensors",
    ]  # fmt: skip
    assert [epoch.metrics["loss"] for epoch in job.epochs.all()] == [
        1 / count for count in range(1, 7)
    ]


def test_script_over_the_memory_limit_fails_with_both_figures(
    submit: Any, settings: Settings
) -> None:
    settings.TRAINER_MEMORY = "100000000"
    job = submit("data = [bytearray(b'x') * 1_000_000 for _ in range(20_000)]")
    supervise(job.pk, "worker")
    job = reload(job)
    assert (job.status, job.attempt) == (Status.FAILED, 1)  # it is not tried again
    assert "and a job may use 0.10 GB on this worker" in job.error_message
    used = float(job.error_message.split(" GB of memory")[0].rsplit(" ", 1)[1])
    assert 0.1 <= used < 20


WRITE_VARIABLES = """
import json, os, pathlib
prefixes = ("MLFLOW_", "KUBEFLOW_")
found = {name: text for name, text in os.environ.items() if name.startswith(prefixes)}
if path := found.get("KUBEFLOW_TRAINER_SERVER_TOKEN"):
    file = pathlib.Path(path)
    found["token"], found["mode"] = file.read_text(), oct(file.stat().st_mode & 0o777)
pathlib.Path("variables.json").write_text(json.dumps(found))
"""


def variables(tmp_path: Path) -> dict[str, str]:
    return dict(json.loads((tmp_path / "script" / "variables.json").read_text()))


def test_program_gets_what_its_clients_need_to_log_into_its_job(
    submit: Any, tmp_path: Path, settings: Settings
) -> None:
    settings.WEB_URL = "http://127.0.0.1:8001"
    job = submit(WRITE_VARIABLES)
    supervise(job.pk, "worker")
    found = variables(tmp_path)
    token = found.pop("MLFLOW_TRACKING_TOKEN")
    token_file = Path(found.pop("KUBEFLOW_TRAINER_SERVER_TOKEN"))
    assert found == {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:8001", "MLFLOW_RUN_ID": job.pk.hex,
        "KUBEFLOW_TRAINER_SERVER_URL":
            f"http://127.0.0.1:8001/api/v1/training/jobs/{job.pk}/attempts/1/status",
        "token": token, "mode": "0o600",
    }  # fmt: skip
    assert not token_file.exists(), "the file with the token is left after the attempt"
    assert reload(job).status == Status.COMPLETED
    assert tokens.authenticate(token) is None, "the token is valid after the job's end"
    Job.objects.filter(pk=job.pk).update(status=Status.RUNNING)
    known = tokens.authenticate(token)
    assert known is not None
    assert (known[0], known[1].scopes) == (job.owner, frozenset({"read", "report"}))
    tokens.create_job_token(job)
    assert tokens.authenticate(token) is None, "the token is valid in the next attempt"


def test_token_ends_with_its_attempt_though_the_next_needs_none(submit: Any) -> None:
    job = submit("print('hello')")
    attempt = claim_job(job)
    token = tokens.create_job_token(reload(job))
    assert tokens.authenticate(token) is not None
    results.requeue_or_fail(attempt, "worker", "requeued", "Moved.")
    assert tokens.authenticate(token) is None
    claim_job(job)
    assert tokens.authenticate(token) is None


def test_program_without_an_address_of_the_server_gets_no_token(
    submit: Any, tmp_path: Path
) -> None:
    job = submit(WRITE_VARIABLES)
    supervise(job.pk, "worker")
    assert variables(tmp_path) == {}
    assert not ApiToken.objects.exists()


def test_tracking_server_set_by_the_operator_is_kept(
    submit: Any, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEB_URL = "http://127.0.0.1:8001"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org")
    job = submit(WRITE_VARIABLES)
    supervise(job.pk, "worker")
    found = variables(tmp_path)
    assert found["MLFLOW_TRACKING_URI"] == "http://mlflow.example.org"
    assert "MLFLOW_RUN_ID" not in found
    assert found["KUBEFLOW_TRAINER_SERVER_URL"].startswith("http://127.0.0.1:8001/")


def test_status_server_set_by_the_operator_is_kept(
    submit: Any, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEB_URL = "http://127.0.0.1:8001"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "https://kubeflow.example.org")
    job = submit(WRITE_VARIABLES)
    supervise(job.pk, "worker")
    assert variables(tmp_path) == {
        "MLFLOW_TRACKING_URI": "http://mlflow.example.org",
        "KUBEFLOW_TRAINER_SERVER_URL": "https://kubeflow.example.org",
    }
    assert not ApiToken.objects.exists()


def test_program_gets_its_token_after_an_outage_of_the_database(
    submit: Any, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it MLflow would log into a folder, unnoticed."""
    settings.WEB_URL = "http://127.0.0.1:8001"
    real, fails = tokens.create_job_token, [True]

    def create_job_token(job: Job) -> str:
        if fails:
            fails.clear()
            raise OperationalError("the database restarts")
        return real(job)

    monkeypatch.setattr("training.accounts.tokens.create_job_token", create_job_token)
    job = submit(WRITE_VARIABLES)
    supervise(job.pk, "worker")
    assert variables(tmp_path)["MLFLOW_RUN_ID"] == job.pk.hex
