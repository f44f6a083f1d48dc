"""The installation, with a fake pip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from heimdall import bootstrap

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from heimdall import bootstrap
bootstrap._pip = lambda python, *words, quietly=False: print("pip", *words) or True
bootstrap._available_versions = lambda *_: None
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


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        ({"2.13.0", "2.13.0+cpu"}, "torch==2.13.0+cpu"),
        ({"2.13.0"}, "torch==2.13.0"),
        (None, "torch==2.13.0+cpu"),  # unknown: pip tries
    ],
)
def test_build_of_torch_is_one_that_exists(
    monkeypatch: pytest.MonkeyPatch, available: set[str] | None, chosen: str
) -> None:
    monkeypatch.setattr(bootstrap, "_available_versions", lambda *_: available)
    monkeypatch.setattr("heimdall.bootstrap.shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "platform", "linux")
    assert bootstrap._choose_torch(Path("python")) == chosen


def test_python_without_a_build_of_torch_is_refused_before_the_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bootstrap, "_available_versions", lambda *_: {"2.20.0"})
    with pytest.raises(SystemExit, match=r"has no build for Python .* nothing was downloaded"):
        bootstrap._choose_torch(Path("python"))


def test_changed_lock_is_installed(folder: Path) -> None:
    (folder / "requirements.txt").write_text("torch==2.13.0\n")
    (folder / "requirements.lock").write_text("# nothing\n")
    run(folder)
    (folder / "requirements.lock").write_text("# nothing else\n")
    again = run(folder)
    assert "pip install --require-hashes --no-deps --requirement" in again
