"""The API conforms to its own schema for generated requests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import Stack

pytestmark = [pytest.mark.xdist_group("embedded"), pytest.mark.timeout(900)]

# All checks are on. HEIMDALL_FUZZ=full: every call and every phase, for some minutes.
FULL = os.environ.get("HEIMDALL_FUZZ") == "full"
PHASES = ["--max-examples", "30"] if FULL else ["--phases", "coverage", "--include-method", "GET"]


def test_every_response_conforms_to_the_schema(embedded: Stack) -> None:
    program = str(Path(sys.executable).parent / "schemathesis")
    done = subprocess.run(
        [
            program, "--config-file", "tests/schemathesis.toml",
            "run", f"{embedded.url}/api/v1/schema",
            "--header", f"Authorization: Bearer {embedded.tokens['bob']}",
            *PHASES, "--generation-deterministic", "--no-color",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stdout)  # noqa: T201  (with -s: what was tried, and how often)
    assert done.returncode == 0
