"""The API against its own schema: whatever is sent, the answer is one that was announced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import Stack

pytestmark = [pytest.mark.xdist_group("embedded"), pytest.mark.timeout(180)]


def test_every_answer_is_one_that_was_announced(embedded: Stack) -> None:
    program = str(Path(sys.executable).parent / "schemathesis")
    done = subprocess.run(
        [
            program, "run", f"{embedded.url}/api/v1/schema",
            "--header", f"Authorization: Bearer {embedded.tokens['bob']}",
            "--checks", "not_a_server_error,content_type_conformance",
            "--phases", "coverage",
            "--generation-deterministic", "--no-color",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
