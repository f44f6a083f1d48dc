"""Output and resource metrics of real scripts while they run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from realtime import events
from tests.jobs import reload
from training.jobs import lifecycle, logs, system_figures
from training.models import Job
from training.models.states import Status
from training.programs.registry import get_program
from training.workers.supervisor import supervise

pytestmark = pytest.mark.django_db(transaction=True)
MANIFEST = 'title = "Script"\ncommand = ["python", "train.py"]\n'
MIB = 1 << 20


@pytest.fixture
def run(tmp_path: Path, settings: Settings, ada: User, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a script as a job to its end; the first crash fails it."""
    settings.PROGRAMS_DIR, settings.MAX_CRASHES = tmp_path, 1
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)

    def run(script: str) -> Job:
        folder = tmp_path / "script"
        folder.mkdir()
        (folder / "program.toml").write_text(MANIFEST)
        (folder / "train.py").write_text(script)
        parameters = get_program("script").parameters()
        job = lifecycle.submit(ada, None, parameters, "Mine", program="script")
        supervise(job.pk, "worker")
        return reload(job)

    return run


def test_stdout_and_stderr_are_one_log_in_order(run: Any) -> None:
    job = run("import sys\nfor n in range(3):\n  print(n)\n  print(n, file=sys.stderr)")
    assert logs.attempt_log(job.pk, 1).tail(100).data == b"0\n0\n1\n1\n2\n2\n"


def test_printed_line_is_announced_while_the_script_runs(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[events.Log] = []
    monkeypatch.setattr("training.events.publisher.send_ephemeral", sent.append)
    job = run("import time\nprint('one')\ntime.sleep(0.5)\nprint('two')")
    assert [(one.job_id, one.attempt, one.after, one.text) for one in sent] == [
        (job.pk, 1, 0, "one\n"),
        (job.pk, 1, 4, "two\n"),
    ]


def test_beginning_and_end_of_200_megabytes_of_output_stay_on_disk(
    run: Any, api: APIClient
) -> None:
    job = run(
        "import sys, time\nout = sys.stdout.buffer\nfor n in range(200):\n"
        "  out.write(b'%07d\\n' % n * 125_000); out.flush(); time.sleep(0.005)\n"
        "time.sleep(0.5)\nprint('the end')"
    )
    assert (job.status, job.error_message) == (Status.COMPLETED, "")
    log = logs.attempt_log(job.pk, 1)
    assert log.size() == 200_000_008
    assert log.path.stat().st_blocks * 512 < 34 * MIB
    text = api.get(f"/api/v1/training/jobs/{job.pk}/logs").getvalue()
    assert text.startswith(b"0000000\n")
    assert text.endswith(b"0000199\nthe end\n")
    gap = log.gap()
    assert text.count(f"bytes {gap.start} to {gap.end - 1} ".encode()) == 1
    assert 32 * MIB < len(text) < 34 * MIB


def test_page_shows_the_end_of_the_output_without_markup(run: Any, page: Client) -> None:
    job = run(
        "import sys\nsys.stdout.buffer.write(b'\\x1b[31m<b>red</b>\\x1b[0m\\n 1%\\r 99%\\r100%\\n"
        "caf\\xc3\\xa9 \\xff\\n')\nsys.stdout.flush()\nraise ValueError('wrong')"
    )
    assert job.status == Status.FAILED
    assert "ValueError: wrong" in job.error_message
    html = page.get(f"/jobs/{job.pk}").content.decode()
    shown = html.partition('id="log-lines"')[2].partition("</pre>")[0]
    for line in ("&lt;b&gt;red&lt;/b&gt;\n", ">100%\n", ">café \ufffd\n", ">ValueError: wrong\n"):
        assert line in shown
    assert "99%" not in shown
    excerpt = html.partition("Last output")[2].partition("</pre>")[0]
    assert "Traceback (most recent call last):" in excerpt
    assert "100%" not in excerpt


def test_resource_metrics_of_the_processes_are_stored_and_served(run: Any, api: APIClient) -> None:
    job = run("import time\nheld = bytearray(50_000_000)\ntime.sleep(2)")
    found = api.get(f"/api/v1/training/jobs/{job.pk}/system").json()
    assert found["total"] >= 1
    assert found["attempt"][0] == 1
    assert found["series"]["memory_rss"][0] > 50e6
    assert found["peak_memory"] == system_figures.columns(job, 10).peak_memory
    assert found["peak_memory"] > 50e6
    assert api.get(f"/api/v1/training/jobs/{job.pk}/system?max_points=5").status_code == 400


def test_out_of_memory_kill_is_reported_with_its_figures(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.workers.memory_limit.MemoryLimit.killed", lambda self: True)
    monkeypatch.setattr("training.workers.memory_limit.MemoryLimit.bytes", lambda self: 2 * 10**9)
    job = run(
        "import os, signal, time\nheld = bytearray(200_000_000)\ntime.sleep(1.5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert job.status == Status.FAILED
    assert "signal SIGKILL, out of memory: 0.2" in job.error_message
    assert "the limit is 2.00 GB" in job.error_message


@pytest.mark.skipif(
    not os.access("/sys/fs/cgroup/memory", os.W_OK), reason="needs a writable memory control group"
)
def test_out_of_memory_kill_by_the_kernel_is_recognized(run: Any) -> None:
    """Version 1 of control groups, as root: the script moves itself into a group of 100 MB."""
    group = Path(f"/sys/fs/cgroup/memory/heimdall-test-{os.getpid()}")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text("100000000")
        job = run(
            f"import os, time\nopen('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
            "time.sleep(1.5)\nheld = bytearray(b'1') * 1_000_000_000"
        )
    finally:
        group.rmdir()
    assert "out of memory" in job.error_message
    assert "the limit is 0.10 GB" in job.error_message
