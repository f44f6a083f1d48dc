"""The command `heimdall` against a running server."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sdk.conftest import SDK, Heimdall
from tests.polling import eventually
from tests.stack import PASSWORD, Stack

Start = Callable[..., "subprocess.Popen[str]"]
Capture = pytest.CaptureFixture[str]


def submit(heimdall: Heimdall, capsys: Capture, *options: str) -> str:
    assert heimdall("submit", "counting", "--json", *options) == 0, capsys.readouterr().err
    return str(json.loads(capsys.readouterr().out)["id"])


def test_login_stores_a_token_that_only_the_user_can_read(
    start_heimdall: Start, installation: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HEIMDALL_URL")
    monkeypatch.delenv("HEIMDALL_TOKEN")
    login = start_heimdall("login", installation.url)
    output, errors = login.communicate(f"ada\n{PASSWORD}\n", timeout=60)
    assert login.returncode == 0, errors
    assert f"Logged in to {installation.url} as ada" in output
    path = tmp_path / "config/heimdall/credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert start_heimdall("jobs").wait(60) == 0


def test_wrong_password_gets_a_one_sentence_error(
    start_heimdall: Start, installation: Stack
) -> None:
    login = start_heimdall("login", installation.url, "--user", "ada")
    _, errors = login.communicate("wrong\n", timeout=60)
    assert login.returncode == 1
    assert errors.count("\n") == 1
    assert "The user name or the password is wrong." in errors


def test_submitted_job_has_the_typed_parameters(
    heimdall: Heimdall, capsys: Capture, installation: Stack
) -> None:
    job_id = submit(
        heimdall, capsys, "-p", "epochs=2", "-p", "seconds=0", "-p", "fails=no", "-p",
        "order=down", "--name", "Typed", "--project", "cli", "--tag", "a",
    )  # fmt: skip
    job = installation.job(job_id)
    assert job["config"] == {"epochs": 2, "seconds": 0.0, "fails": False, "order": "down"}
    assert (job["name"], job["project"], job["tags"]) == ("Typed", "cli", ["a"])


@pytest.mark.parametrize(
    ("parameter", "status", "sentence"),
    [("epoch=2", 2, "did you mean 'epochs'?"), ("epochs=two", 2, "not a whole number"),
     ("order=left", 2, "one of up, down"), ("epochs=0", 1, "parameters.epochs: 0 is too small"),
     ("epochs", 2, "NAME=VALUE")],
)  # fmt: skip
def test_invalid_parameter_is_refused_by_name(
    heimdall: Heimdall, capsys: Capture, parameter: str, status: int, sentence: str
) -> None:
    assert heimdall("submit", "counting", "-p", parameter) == status
    assert sentence in capsys.readouterr().err


def test_watch_prints_one_line_per_epoch_until_the_end(heimdall: Heimdall, capsys: Capture) -> None:
    assert heimdall("submit", "counting", "-p", "epochs=3", "--watch") == 0
    output = capsys.readouterr().out
    assert re.findall(
        r"^epoch (\d)/3  loss \S+  accuracy 0.5  best$", output, re.MULTILINE
    ) == list("123")
    assert output.endswith("completed; the best epoch is 3\n")


def test_watch_of_a_failed_job_has_status_1(heimdall: Heimdall, capsys: Capture) -> None:
    assert heimdall("submit", "counting", "-p", "fails=true", "--watch") == 1
    assert "failed: It was asked to fail." in capsys.readouterr().out


def test_watch_of_an_ended_job_ends(heimdall: Heimdall, capsys: Capture) -> None:
    job_id = submit(heimdall, capsys)
    assert heimdall("watch", job_id) == 0
    live = capsys.readouterr().out
    assert heimdall("watch", job_id[:13]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == live.splitlines()[1:]


def test_watch_continues_after_the_server_restarts(
    heimdall: Heimdall, capsys: Capture, installation: Stack, start_heimdall: Start
) -> None:
    job_id = submit(heimdall, capsys, "-p", "epochs=8", "-p", "seconds=0.5")
    watch = start_heimdall("watch", job_id, "--json")
    assert watch.stdout is not None
    assert watch.stderr is not None
    first = watch.stdout.readline()
    eventually(lambda: installation.job(job_id)["current_epoch"] >= 2)
    assert installation.web is not None
    installation.web.terminate()
    installation.web.wait(30)
    installation.start_web()
    # communicate() would leave out what readline() has read ahead.
    lines = [first, *watch.stdout.readlines()]
    errors = watch.stderr.read()
    assert watch.wait(30) == 0, errors
    seqs = [event["seq"] for line in lines if "seq" in (event := json.loads(line))]
    assert seqs == list(range(1, len(seqs) + 1))
    assert "reconnecting" in errors


def test_interrupted_watch_ends_without_traceback(
    heimdall: Heimdall, capsys: Capture, start_heimdall: Start
) -> None:
    job_id = submit(heimdall, capsys, "-p", "epochs=50", "-p", "seconds=0.5")
    watch = start_heimdall("watch", job_id)
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, errors = watch.communicate(timeout=30)
    assert (watch.returncode, errors.strip()) == (130, "")
    assert heimdall("cancel", job_id) == 0


def test_logs_prints_the_output(heimdall: Heimdall, capfdbinary: Any, installation: Stack) -> None:
    assert heimdall("submit", "counting", "--json", "-p", "epochs=2") == 0
    job_id = json.loads(capfdbinary.readouterr().out)["id"]
    assert heimdall("logs", "-f", job_id) == 0
    expected = b"output of epoch 1\noutput of epoch 2\n"
    assert capfdbinary.readouterr().out == expected
    assert heimdall("logs", job_id[:13], "--attempt", "1") == 0
    assert capfdbinary.readouterr().out == expected
    assert heimdall("logs", job_id, "--attempt", "7") == 1
    assert b"This job has no attempt 7" in capfdbinary.readouterr().err


def test_commands_pause_resume_and_cancel_a_job(
    heimdall: Heimdall, capsys: Capture, installation: Stack
) -> None:
    job_id = submit(heimdall, capsys, "-p", "epochs=100", "-p", "seconds=0.2")
    eventually(lambda: installation.job(job_id)["current_epoch"] >= 1)
    assert heimdall("pause", job_id[:12]) == 0
    assert "is running, pause requested" in capsys.readouterr().out
    assert heimdall("watch", job_id) == 1
    assert capsys.readouterr().out.endswith("paused\n")
    assert heimdall("resume", job_id, "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "queued"
    assert heimdall("cancel", job_id) == 0
    installation.until(job_id, "cancelled")
    capsys.readouterr()
    assert heimdall("pause", job_id) == 1
    assert capsys.readouterr().err == "heimdall: Cannot pause this job: it is cancelled.\n"


def test_jobs_are_filtered_and_listed(heimdall: Heimdall, capsys: Capture) -> None:
    job_id = submit(heimdall, capsys, "--name", "Needle in a list", "--project", "list")
    for options in (["--search", "Needle"], ["--project", "list"], ["--program", "counting"]):
        assert heimdall("jobs", *options) == 0
        assert job_id[:8] in capsys.readouterr().out
    assert heimdall("jobs", "--search", "Needle", "--json") == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [job_id]
    assert heimdall("jobs", "-n", "1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert heimdall("jobs", "--status", "finished") == 1
    assert "finished' is not one of queued" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("0000000000", "No job has an ID that begins with"), ("nonsense", "not the beginning of"),
     ("00000000-0000-4000-8000-000000000000", "does not exist, or you cannot view it")],
)  # fmt: skip
def test_unknown_id_gets_a_one_sentence_error(
    heimdall: Heimdall, capsys: Capture, text: str, sentence: str
) -> None:
    assert heimdall("watch", text) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_ambiguous_id_is_refused(heimdall: Heimdall, capsys: Capture) -> None:
    first = {submit(heimdall, capsys)[0] for _ in range(17)}
    assert len(first) < 17
    statuses = {heimdall("watch", digit) for digit in "0123456789abcdef"}
    assert 1 in statuses
    assert "is the beginning of several IDs" in capsys.readouterr().err


def test_export_writes_the_file_immediately(
    heimdall: Heimdall, capsys: Capture, tmp_path: Path
) -> None:
    job_id = submit(heimdall, capsys)
    assert heimdall("watch", job_id) == 0
    for name, start in (("csv", b"epoch,"), ("jsonl", b'{"job_id"'), ("mlflow", b"PK")):
        target = tmp_path / f"exported.{name}"
        assert heimdall("export", job_id, "--format", name, "-o", str(target)) == 0
        assert target.read_bytes().startswith(start)
    assert heimdall("export", job_id, "-o", str(tmp_path / "missing/file.csv")) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_sync_sends_what_was_reported_without_a_server(
    heimdall: Heimdall, capsys: Capture, installation: Stack, tmp_path: Path
) -> None:
    script = """
import heimdall_sdk
with heimdall_sdk.init(name="Offline") as run:
    for step in range(1, 4):
        run.log(step=step, loss=1 / step)
"""
    environment = {name: value for name, value in os.environ.items() if name != "HEIMDALL_TOKEN"}
    subprocess.run(
        [sys.executable, "-c", script], env={**environment, "PYTHONPATH": str(SDK)}, check=True,
        capture_output=True,
    )  # fmt: skip
    capsys.readouterr()
    assert heimdall("sync", "--json") == 0
    sent = json.loads(capsys.readouterr().out)
    assert (sent["name"], sent["points"], sent["error"]) == ("Offline", 3, "")
    assert installation.job(sent["job_id"])["status"] == "completed"
    assert heimdall("sync") == 0
    assert "Nothing to send" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["sub"], {"submit"}), (["submit", "cou"], {"counting"}),
     (["submit", "counting", "-p", "e"], {"epochs="}),
     (["submit", "counting", "-p", "order="], {"order=up", "order=down"}),
     (["export", "--format", ""], {"csv", "jsonl", "tensorboard", "mlflow"}),
     (["logs", "--att"], {"--attempt"})],
)  # fmt: skip
def test_tab_completes(
    heimdall: Heimdall, capsys: Capture, words: list[str], expected: set[str]
) -> None:
    assert heimdall("__complete", "--", *words) == 0
    found = {line.split("\t")[0] for line in capsys.readouterr().out.splitlines()}
    assert found == expected


def test_bash_completes_job_ids(
    heimdall: Heimdall, capsys: Capture, start_heimdall: Start, tmp_path: Path
) -> None:
    job_id = submit(heimdall, capsys)
    assert heimdall("completion", "bash") == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    assert heimdall("__complete", "--", "watch", job_id[:4]) == 0
    assert capsys.readouterr().out.startswith(job_id[:8])
    done = subprocess.run(
        ["bash", "-c", f"""
         heimdall() {{ printf 'order=up\\torder=down\\n'; }}
         source {script}
         COMP_WORDS=(heimdall submit counting -p order = u) COMP_CWORD=6; _heimdall
         printf '%s\\n' "${{COMPREPLY[@]}}"
         """],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["up"]


def test_unreachable_server_gets_a_one_sentence_error(
    heimdall: Heimdall, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEIMDALL_URL", "http://127.0.0.1:9")
    assert heimdall("jobs") == 1
    error = capsys.readouterr().err
    assert error.startswith("heimdall: http://127.0.0.1:9 cannot be reached")
    assert error.count("\n") == 1
