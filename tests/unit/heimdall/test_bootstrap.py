"""Setting up, with a stand-in for pip: what is installed is the journeys' business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from heimdall import bootstrap
bootstrap._pip = lambda python, *words, quietly=False: print("pip", *words) or True
bootstrap.ensure_installed(Path({folder!r}), ["requirements.txt"])
print("inside", Path(sys.prefix).name)
"""


def run(folder: Path, **environment: str) -> str:
    script = folder / "program.py"
    script.write_text(PROGRAM.format(root=str(settings.BASE_DIR), folder=str(folder)))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEIMDALL")}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requirements.txt").write_text("Django\n")
    return tmp_path


def test_first_start_installs_and_reexecutes_in_the_venv(folder: Path) -> None:
    first = run(folder)
    assert "pip install --requirement" in first
    assert first.strip().endswith("inside .venv")


def test_second_start_installs_only_after_the_requirements_change(folder: Path) -> None:
    run(folder)
    assert "pip" not in run(folder)
    (folder / "requirements.txt").write_text("Django>5\n")
    assert "pip install" in run(folder)


def test_no_venv_variable_skips_the_installation(folder: Path) -> None:
    output = run(folder, HEIMDALL_NO_VENV="1")
    assert "pip" not in output
    assert not (folder / ".venv").exists()


def test_bootstrap_imports_only_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c",
         f"import sys; sys.path.insert(0, {str(settings.BASE_DIR)!r}); import heimdall.bootstrap"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
