"""A reported run loses nothing and sends nothing twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heimdall_sdk.sync import sync_spool
from tests.unit.sdk.report_server import TOKEN, Fault, ReportServer
from tests.unit.sdk.supervision import SCRIPTS, script_environment

# A hanging server is given up sooner than in earnest.
PREAMBLE = """
import os, sys, time
import heimdall_sdk
from heimdall_sdk import api_client, reported, sender
api_client.TIMEOUT_SECONDS = 0.5
sender.HEARTBEAT_SECONDS = 0.1
sender.MAX_DELAY_SECONDS = 0.5
"""


class Script:
    """A script with a spool of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"

    def start(
        self, body: str | Path, server: ReportServer | None = None, *arguments: str
    ) -> subprocess.Popen[str]:
        path = body
        if isinstance(body, str):
            path = self.folder / "script.py"
            path.write_text(PREAMBLE + textwrap.dedent(body))
        environment = {} if server is None else server.environment
        return subprocess.Popen(
            [sys.executable, str(path), *arguments],
            env=script_environment(HEIMDALL_SPOOL=str(self.spool), **environment),
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, body: str, server: ReportServer | None = None) -> str:
        """Run to the end; return what it wrote to stderr."""
        process = self.start(body, server)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        return stderr

    def sync(self, server: ReportServer) -> list[str]:
        """Send what was left; return the errors."""
        found = sync_spool(server.environment["HEIMDALL_URL"], TOKEN, self.spool)
        return [result.error for result in found if result.error]

    @property
    def spools(self) -> list[Path]:
        return list(self.spool.iterdir()) if self.spool.exists() else []


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


@pytest.fixture
def server() -> Iterator[ReportServer]:
    with ReportServer() as server:
        yield server


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_run_is_stored_with_everything_it_reported(script: Script, server: ReportServer) -> None:
    stderr = script.run(
        """
        with heimdall_sdk.init("digits", "first", {"lr": 0.1, "nested": {"a": float("inf")}},
                               ["x"], 3, ("accuracy", "maximize")) as run:
            print("hello")
            for epoch in run.epochs(0):
                run.log(epoch=epoch, accuracy=epoch / 3, loss=float("nan"))
            open("notes.txt", "w").write("n")
            run.log_artifact("notes.txt", "docs/my notes.txt")
        """,
        server,
    )

    run = server.run
    assert run.registration == {
        "project": "digits", "name": "first", "tags": ["x"], "total_epochs": 3,
        "config": {"lr": 0.1, "nested": {"a": "Infinity"}},
        "objective": {"metric": "accuracy", "direction": "maximize"},
    }  # fmt: skip
    assert [point["epoch"] for point in run.points] == [1, 2, 3]
    assert run.points[0]["values"] == {"accuracy": 1 / 3, "loss": "NaN"}
    assert run.output == b"hello\n"
    assert run.artifacts == {"docs/my%20notes.txt": b"n"}
    assert run.ending == {"status": "completed"}
    assert script.spools == []
    assert stderr == ""


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        ("raise ValueError('bad')", "failed", "ValueError: bad"),
        ("raise KeyboardInterrupt", "cancelled", "Interrupted from the keyboard."),
        ("sys.exit(3)", "failed", "The script exited with status 3."),
        ("sys.exit()", "completed", None),
    ],
)
@pytest.mark.parametrize("block", ["with heimdall_sdk.init() as run:", "heimdall_sdk.init()"])
def test_end_of_the_script_is_the_end_of_the_run(
    script: Script, server: ReportServer, block: str, end: str, status: str, message: str | None
) -> None:
    indent = "    " if block.startswith("with") else ""

    script.start(f"{block}\n{indent}{end}\n", server).communicate(timeout=60)

    expected = {"status": status} | ({"error_message": message} if message else {})
    assert server.run.ending == expected


def test_network_faults_lose_and_duplicate_nothing(script: Script, server: ReportServer) -> None:
    faults: list[Fault] = [
        "error",
        "hang",
        "lost request",
        "lost answer",
        "unauthorized",
        "not json",
        "",
    ]
    generator = random.Random(4)
    server.faults = [generator.choice(faults) for _ in range(60)]

    process = script.start(
        """
        reported.EXIT_SECONDS = 50
        with heimdall_sdk.init() as run:
            for step in range(1, 2001):
                run.log(loss=step)
                time.sleep(0.001)
        """,
        server,
    )
    process.communicate(timeout=100)

    assert server.run.steps == list(range(1, 2001))
    assert server.repeated > 0
    assert server.run.ending == {"status": "completed"}
    assert script.spools == []


def test_registration_still_in_progress_is_retried(script: Script, server: ReportServer) -> None:
    """The server held the key of the first request when it was killed."""
    server.faults = ["lost request", "in progress"]
    script.run(
        """
        with heimdall_sdk.init(name="again") as run:
            run.log(step=1, loss=0.5)
        """,
        server,
    )
    assert server.run.steps == [1]
    assert script.spools == []


def test_server_receives_missed_reports_after_an_outage(
    script: Script, server: ReportServer
) -> None:
    server.stop()
    process = script.start(
        """
        with heimdall_sdk.init() as run:
            step = 0
            while not os.path.exists("end"):
                step += 1
                run.log(loss=step)
                time.sleep(0.001)
            print(step)
        """,
        server,
    )

    for _ in range(3):
        time.sleep(0.7)
        server.start()
        before = sum(len(run.points) for run in server.runs.values())
        wait_until(lambda: server.runs and len(server.run.points) > before)  # noqa: B023
        server.stop()
    server.start()
    (script.folder / "end").touch()
    stdout, stderr = process.communicate(timeout=60)

    assert server.run.steps == list(range(1, int(stdout) + 1))
    assert stderr.count("cannot be reached") == 1
    assert script.spools == []


def test_reports_unsent_at_exit_can_be_sent_by_sync(script: Script, server: ReportServer) -> None:
    server.stop()

    stderr = script.run(
        """
        reported.EXIT_SECONDS = 0.5
        with heimdall_sdk.init(name="away") as run:
            print("printed")
            for step in range(100):
                run.log(loss=step)
        """,
        server,
    )
    server.start()

    assert "`heimdall sync` sends the rest" in stderr
    assert script.sync(server) == []
    assert server.run.steps == list(range(1, 101))
    # The warning of the sender thread may come before or after it.
    assert b"printed\n" in server.run.output
    assert server.run.ending == {"status": "completed"}
    assert script.spools == []


def test_run_without_a_server_address_writes_a_spool_and_logs_it(
    script: Script, server: ReportServer
) -> None:
    stderr = script.run(
        """
        for number in range(2):
            with heimdall_sdk.init(name=str(number)) as run:
                run.log(epoch=1, loss=number)
        """
    )

    assert stderr.count("HEIMDALL_URL and HEIMDALL_TOKEN not set") == 1
    names = [path.name for path in script.spools]
    assert not [path for name in names for path in Path("/dev/shm").glob(f"heimdall-{name}*")]
    assert script.sync(server) == []
    assert sorted(run.registration["name"] for run in server.runs.values()) == ["0", "1"]
    assert script.sync(server) == []
    assert len(server.runs) == 2


def test_sync_leaves_running_scripts_alone(script: Script, server: ReportServer) -> None:
    process = script.start("run = heimdall_sdk.init()\nrun.log(a=1)\ntime.sleep(60)\n")
    wait_until(lambda: script.spools and list(script.spools[0].glob("records*")))

    assert script.sync(server) == []
    assert server.runs == {}

    process.kill()
    process.communicate()
    assert script.sync(server) == []
    assert server.run.steps == [1]
    assert server.run.ending is not None
    assert server.run.ending["status"] == "failed"


def test_interrupted_sync_continues_where_it_stopped(script: Script, server: ReportServer) -> None:
    script.run("with heimdall_sdk.init() as run:\n    for n in range(20000): run.log(a=n)\n")
    server.faults = ["", "lost answer", *["lost request"] * 5]  # type: ignore[list-item]

    errors = script.sync(server)
    assert len(errors) == 1
    assert script.sync(server) == []

    assert server.run.steps == list(range(1, 20001))
    assert server.repeated == 1


def test_killed_process_loses_nothing_that_was_logged(script: Script, server: ReportServer) -> None:
    moments = random.Random(7)
    faults: list[Fault] = ["", "", "lost answer", "error"]
    for attempt in range(10):
        server.runs.clear()
        server.faults = [moments.choice(faults) for _ in range(20)]
        logged = script.folder / f"logged-{attempt}"
        process = script.start(
            """
            with heimdall_sdk.init() as run, open(sys.argv[1], "wb", buffering=0) as logged:
                for step in range(1, 10**6):
                    run.log(loss=step)
                    logged.write(b"%d\\n" % step)
                    time.sleep(0.0005)
            """,
            server,
            str(logged),
        )
        wait_until(lambda: logged.exists() and logged.stat().st_size)  # noqa: B023
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        server.faults = []

        assert script.sync(server) == []

        steps = server.run.steps
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) >= len(logged.read_text().splitlines())


def test_process_that_is_killed_as_soon_as_log_returns_loses_nothing(
    script: Script, server: ReportServer
) -> None:
    process = script.start(
        """
        import signal
        with heimdall_sdk.init() as run:
            for step in range(1000):
                run.log(loss=step)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    process.communicate(timeout=60)
    held = list(Path("/dev/shm").glob(f"heimdall-{script.spools[0].name}-*"))

    assert script.sync(server) == []

    assert server.run.steps == list(range(1, 1001))
    assert len(held) == 2
    assert not any(path.exists() for path in held)


def test_full_disk_loses_nothing_while_the_server_is_reachable(
    script: Script, server: ReportServer
) -> None:
    stderr = script.run(
        """
        import resource
        with heimdall_sdk.init() as run:
            run.log(loss=0)
            time.sleep(0.2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
            for step in range(3000):
                run.log(loss=step)
                time.sleep(0.0002)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            for step in range(100):
                run.log(loss=step)
        """,
        server,
    )

    assert server.run.steps == list(range(1, 3102))
    assert "waits in memory" in stderr
    assert script.spools == []


def test_full_disk_and_memory_drop_the_oldest_reports_with_a_warning(
    script: Script, server: ReportServer
) -> None:
    stderr = script.run(
        """
        import resource
        from heimdall_sdk import spool
        spool.MAX_MEMORY_BYTES = 20_000
        with heimdall_sdk.init() as run:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
            for step in range(2000):
                run.log(loss=step)
                time.sleep(0.0002)
            time.sleep(0.1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            for step in range(10):
                run.log(loss=step)
        """
    )

    assert "the oldest points are lost" in stderr
    assert script.sync(server) == []
    steps = server.run.steps
    assert steps == sorted(set(steps))
    assert steps[0] == 1
    assert steps[-110:] == list(range(1901, 2011))


def test_stop_request_ends_the_epochs(script: Script, server: ReportServer) -> None:
    server.stop_requested = "cancel"

    script.run(
        """
        with heimdall_sdk.init(total_epochs=10000) as run:
            for epoch in run.epochs(0):
                run.log(epoch=epoch, loss=1)
                time.sleep(0.01)
            assert run.should_stop
        """,
        server,
    )

    assert server.run.heartbeats > 0
    assert len(server.run.points) < 10000
    assert server.run.ending == {"status": "cancelled"}


def test_deleting_the_run_does_not_stop_the_training(script: Script, server: ReportServer) -> None:
    process = script.start(
        """
        with heimdall_sdk.init() as run:
            run.log(loss=1)
            while not os.path.exists("deleted"):
                time.sleep(0.01)
            run.log(loss=2)
            time.sleep(0.3)
            run.log(loss=3)
        print("trained")
        """,
        server,
    )
    wait_until(lambda: server.runs and server.run.points)
    server.runs.clear()
    (script.folder / "deleted").touch()

    stdout, stderr = process.communicate(timeout=60)

    assert stdout == "trained\n"
    assert "no longer has the run" in stderr


def test_workers_of_a_dataloader_report_nothing(script: Script, server: ReportServer) -> None:
    process = script.start(
        """
        import torch
        from torch.utils.data import DataLoader

        class Data(torch.utils.data.Dataset):
            def __len__(self): return 40
            def __getitem__(self, index):
                run.log(worker=index)
                print("from a worker")
                return index

        run = heimdall_sdk.init()
        for batch in DataLoader(Data(), 4, num_workers=2):
            run.log(total=batch.sum())
        """,
        server,
    )
    stdout, _ = process.communicate(timeout=100)

    assert [list(point["values"]) for point in server.run.points] == [["total"]] * 10
    assert stdout.count("from a worker") == 40
    assert server.run.output == b""
    assert server.run.ending == {"status": "completed"}


def test_killed_run_of_the_same_name_continues_and_a_completed_one_does_not(
    script: Script, server: ReportServer
) -> None:
    checkpoints = script.folder / "checkpoints"
    path = script.folder / "slow.py"
    text = (SCRIPTS / "count.py").read_text()
    path.write_text(text.replace('"seconds": 0.0', '"seconds": 0.2').replace('"epochs": 5', '"epochs": 6'))  # fmt: skip  # noqa: E501
    whole = script.start(path, server, str(script.folder / "whole"))
    killed = script.start(path, server, str(checkpoints))
    wait_until(lambda: list(checkpoints.glob("count/epoch-000003*.safetensors")))
    killed.kill()
    killed.communicate()

    continued = script.start(path, server, str(checkpoints))
    _, stderr = continued.communicate(timeout=60)
    whole.communicate(timeout=60)
    names = sorted(item.name for item in (checkpoints / "count").iterdir())
    again = script.start(path, server, str(checkpoints))
    wait_until(lambda: list(checkpoints.glob("count-2/epoch-*.safetensors")))
    again.kill()
    again.communicate()

    assert "continuing from epoch" in stderr
    runs = [{p["epoch"]: p["values"] for p in run.points if "epoch" in p} for run in server.runs.values()]  # fmt: skip  # noqa: E501
    assert len(runs) == 4
    complete = [values for values in runs if len(values) == 6]
    assert len(complete) == 1
    assert all(values.items() <= complete[0].items() for values in runs)
    assert [name for name in names if name.endswith(".safetensors")] == [
        "best-000003.safetensors", "epoch-000005.safetensors", "epoch-000006.safetensors",
    ]  # fmt: skip


def test_unwritable_spool_does_not_stop_the_training(script: Script, server: ReportServer) -> None:
    script.spool.write_text("a file, not a folder")

    stderr = script.run(
        "with heimdall_sdk.init() as run:\n    run.log(loss=1)\n    run.checkpoint(1, a=1)\n",
        server,
    )

    assert "the spool cannot be created" in stderr
    assert "nothing is reported" in stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sdk_imports_only_the_standard_library(script: Script) -> None:
    script.run(
        """
        with heimdall_sdk.init() as run:
            run.log(loss=1)
            run.checkpoint(1, model={"a": [1.5]})
        top = {name.partition(".")[0] for name in sys.modules}
        foreign = top - set(sys.stdlib_module_names) - {"heimdall_sdk", "__main__"}
        assert not {name for name in foreign if not name.startswith(("_", "coverage"))}, foreign
        """
    )


def test_run_can_be_handed_to_a_process_that_is_spawned(
    script: Script, server: ReportServer
) -> None:
    script.run(
        """
        import multiprocessing

        def child(run):
            assert run.config == {"lr": 0.1}
            run.log(child=1)
            run.finish()

        if __name__ == "__main__":
            with heimdall_sdk.init(config={"lr": 0.1}) as run:
                process = multiprocessing.get_context("spawn").Process(target=child, args=(run,))
                process.start()
                process.join()
                assert process.exitcode == 0
                run.log(parent=1)
        """,
        server,
    )

    assert [point["values"] for point in server.run.points] == [{"parent": 1.0}]


def test_runs_of_one_process_leave_no_threads(script: Script, server: ReportServer) -> None:
    script.run(
        """
        import threading
        for number in range(5):
            with heimdall_sdk.init() as run:
                run.log(number=number)
        time.sleep(1.2)
        assert threading.active_count() == 1, threading.enumerate()
        """,
        server,
    )

    assert len(server.runs) == 5


def test_names_and_messages_that_the_server_would_refuse_are_cleaned(
    script: Script, server: ReportServer
) -> None:
    script.run(
        r"""
        import heimdall_sdk
        run = heimdall_sdk.init(
            project="pro\x1bject", name="a\0b\nc\u202e", tags=["\u200b", "t\tag"],
            config={"prompt": "x\0", "k\ud800": ["\x1b[31m"]},
        )
        run.finish("failed", "\x1b[31mboom\0\ud800")
        """,
        server,
    )

    assert server.run.registration["project"] == "pro\ufffdject"
    assert server.run.registration["name"] == "a\ufffdb c\ufffd"
    assert server.run.registration["tags"] == ["t ag"]
    assert server.run.registration["config"] == {"prompt": "x\ufffd", "k\ufffd": ["\ufffd[31m"]}
    assert server.run.ending == {"status": "failed", "error_message": "\ufffd[31mboom\ufffd\ufffd"}


@pytest.mark.parametrize(
    ("config", "kept", "warning"),
    [
        ("{'lr': 1, 'text': 'x' * 300_000}", {"lr": 1}, "it is reported without text."),
        ("{'lr': 1, 'deep': []}", {}, "the run is reported without its config (400: config: It"),
    ],
)
def test_run_is_not_lost_for_its_configuration(
    script: Script, server: ReportServer, config: str, kept: dict[str, int], warning: str
) -> None:
    stderr = script.run(
        f"""
        run = heimdall_sdk.init(name="a", config={config})
        run.log(loss=1.0)
        run.finish()
        """,
        server,
    )

    assert stderr.count(warning) == 1
    assert server.run.registration.get("config", {}) == kept
    assert (server.run.steps, server.run.ending) == ([1], {"status": "completed"})


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13", "3.14"])
def test_sdk_runs_on_other_pythons(script: Script, server: ReportServer, version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    checkpoints = script.folder / "checkpoints"

    for _ in range(2):
        subprocess.run(
            [python, "-W", "error", str(SCRIPTS / "count.py"), str(checkpoints)],
            env=script_environment(HEIMDALL_SPOOL=str(script.spool), **server.environment),
            cwd=script.folder, check=True, timeout=60,
        )  # fmt: skip

    assert {run.ending and run.ending["status"] for run in server.runs.values()} == {"completed"}
    assert sorted(path.name for path in checkpoints.iterdir()) == ["count", "count-2"]


def find_python(version: str) -> str | None:
    by_version_manager = (Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python")
    installed = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    return next(map(str, by_version_manager), installed)
