"""The output of a script whose worker is killed while it prints."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import PrivateBroker
from tests.faults.job_observation import parent
from tests.faults.results_table import Tally
from tests.polling import eventually
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]
SCRIPT = """
import os, time
from pathlib import Path
first = not Path("started").exists()
Path("started").write_text(str(os.getpid()))
for number in range(100_000 if first else 3):
    print(f"{number:06d}")
    if first:
        Path("printed").write_text(str(number))
        time.sleep(0.001)
"""


@pytest.fixture
def scripts(broker: PrivateBroker, tmp_path: Path) -> Iterator[Stack]:
    folder = tmp_path / "programs" / "counter"
    folder.mkdir(parents=True)
    (folder / "program.toml").write_text('title = "Counter"\ncommand = ["python", "train.py"]\n')
    (folder / "train.py").write_text(SCRIPT)
    programs = {"HEIMDALL_PROGRAMS_DIR": str(folder.parent)}
    with running_stack(tmp_path / "data", broker.url, workers=1, **programs) as stack:
        yield stack


def test_log_has_every_line_that_was_printed_before_the_worker_was_killed(
    scripts: Stack, tmp_path: Path, tally: Tally
) -> None:
    folder = tmp_path / "programs" / "counter"
    with scripts.api() as api:
        answer = api.post("/jobs", json={"program": "counter", "parameters": {}})
        assert answer.status_code == 201, answer.text
        job_id = answer.json()["id"]
        eventually(lambda: (folder / "printed").exists() and _number(folder / "printed") > 300)
        script = int((folder / "started").read_text())
        os.kill(parent(script), signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{script}/cmdline").exists(), 10)
        printed = _number(folder / "printed")
        scripts.until(job_id, "completed")
        first, second = (
            api.get(f"/jobs/{job_id}/logs?attempt={attempt}").text.splitlines()
            for attempt in (1, 2)
        )
    assert [int(line) for line in first] == list(range(len(first)))
    assert len(first) > printed
    assert second == ["000000", "000001", "000002"]
    tally("worker of a script that prints, kill -9", 1)


def _number(path: Path) -> int:
    # The script may have opened the file, and not written to it yet.
    return int(path.read_text() or 0)
