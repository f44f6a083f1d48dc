"""The Python program in the README runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.stack import Stack
from tests.unit.test_docs import README

pytestmark = [pytest.mark.xdist_group("embedded"), pytest.mark.timeout(120)]


def test_readme_program_follows_a_job_to_its_evaluation(embedded: Stack) -> None:
    programs = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (program,) = [text for text in programs if "localhost:8001" in text]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace("localhost:8001", embedded.url[7:])],
        env={**os.environ, "TOKEN": embedded.tokens["ada"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *epochs, test = done.stdout.splitlines()
    assert [line.split()[0] for line in epochs] == ["1", "2", "3", "4", "5"]
    assert "rmse_m" in test
