"""Creates `.venv`, installs the requirements and re-executes the command there.

This module runs before anything is installed, so it uses the standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

MIN_PYTHON = (3, 11)
TORCH = "torch==2.13.0"


def ensure_installed(root: Path, requirements: Sequence[str]) -> None:
    """Return if this environment has the `requirements`; otherwise install and re-execute."""
    if os.environ.get("HEIMDALL_NO_VENV") == "1":
        return
    if sys.version_info < MIN_PYTHON:
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Heimdall needs Python 3.11 or newer; this is {version} ({sys.executable}).")
    venv = root / ".venv"
    python = venv / "bin" / "python"
    with _exclusive(root / ".venv.lock"):
        for name in requirements:
            stamp = venv / f".installed-{name.replace('/', '-')}"
            fingerprint = _fingerprint(root / name)
            if not stamp.exists() or stamp.read_text(encoding="ascii") != fingerprint:
                _install(python, root / name)
                stamp.write_text(fingerprint, encoding="ascii")
    if Path(sys.prefix).resolve() != venv.resolve():
        os.execv(python, [str(python), *sys.argv])


def _fingerprint(requirements: Path) -> str:
    version = ".".join(map(str, sys.version_info[:2]))
    lock = requirements.with_suffix(".lock")
    locked = lock.read_bytes() if lock.exists() else b""
    return hashlib.sha256(version.encode() + requirements.read_bytes() + locked).hexdigest()


def _install(python: Path, requirements: Path) -> None:
    venv = python.parent.parent
    if not python.exists():
        _print(f"Setting up {venv} (only once; later starts are fast) ...")
        _make_venv(venv)
    if "torch==" in requirements.read_text(encoding="utf-8"):
        build = _choose_torch(python)
        _install_locked(python, requirements.with_suffix(".lock"))
        _install_torch(python, build)
    _print(f"Installing {requirements.relative_to(venv.parent)} (about a minute) ...")
    if not _pip(python, "install", "--requirement", str(requirements)):
        sys.exit(
            "The installation failed, see above. Fix the problem and run the same command again; "
            "packages that are installed already are kept."
        )


def _make_venv(venv: Path) -> None:
    """Works on Debian too, which ships `ensurepip` in a separate package."""
    if _run_quietly(sys.executable, "-m", "venv", str(venv)):
        return
    shutil.rmtree(venv, ignore_errors=True)
    if _can_be_root() and _run_quietly("apt-get", "install", "--yes", "python3-venv"):
        if _run_quietly(sys.executable, "-m", "venv", str(venv)):
            return
        shutil.rmtree(venv, ignore_errors=True)
    system_pip = shutil.which("pip3") or shutil.which("pip")
    if system_pip and _run_quietly(sys.executable, "-m", "venv", "--without-pip", str(venv)):
        python = str(venv / "bin" / "python")
        if _run_quietly(system_pip, "--python", python, "install", "pip"):
            return
    sys.exit(
        "This Python cannot create a virtual environment. On Debian and Ubuntu, run:\n"
        "    sudo apt install python3-venv\n"
        "and the same command again (or set HEIMDALL_NO_VENV=1 to use this Python as it is)."
    )


def _choose_torch(python: Path) -> str:
    """The CPU build where there is no NVIDIA driver: it has a tenth of the size.

    Exits before any download if this Python has no such wheel.
    """
    cpu_only = sys.platform == "linux" and shutil.which("nvidia-smi") is None
    name, _, version = TORCH.partition("==")
    available = _available_versions(python, name)
    if available is None or (cpu_only and f"{version}+cpu" in available):
        return f"{TORCH}+cpu" if cpu_only else TORCH
    if version in available:
        return TORCH
    running = ".".join(map(str, sys.version_info[:2]))
    sys.exit(
        f"PyTorch {version} has no build for Python {running} on this machine, so nothing was "
        "downloaded. Run the same command with Python 3.11, 3.12, 3.13 or 3.14, for example "
        "`python3.12 manage.py demo`."
    )


def _available_versions(python: Path, name: str) -> set[str] | None:
    """The versions with a build for this Python; None if pip cannot list them, as when offline."""
    command = [str(python), "-m", "pip", "index", "versions", name, "--no-input"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lists = [line for line in done.stdout.splitlines() if line.startswith("Available versions:")]
    if lists:
        return set(lists[0].partition(":")[2].replace(",", " ").split())
    return set() if "No matching distribution" in done.stderr and _has_network(python) else None


def _has_network(python: Path) -> bool:
    """Whether any index answers: pip's own package is in all of them."""
    command = [str(python), "-m", "pip", "index", "versions", "pip", "--no-input"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _install_locked(python: Path, lock: Path) -> None:
    """Install what `requirements.txt` leads to, in the versions and with the hashes of the lock."""
    if not lock.exists():
        return
    _print(f"Installing {lock.name} (about a minute) ...")
    if not _pip(python, "install", "--require-hashes", "--no-deps", "--requirement", str(lock)):
        sys.exit(
            "The installation failed, see above. Fix the problem and run the same command again; "
            "packages that are installed already are kept."
        )


def _install_torch(python: Path, build: str) -> None:
    _print("Installing PyTorch (about 200 MB) ...")
    if build.endswith("+cpu") and _pip(python, "install", build, quietly=True):
        return
    if build.endswith("+cpu"):
        _print(
            "The CPU build is not available here; installing the CUDA build (several gigabytes)."
        )
    # A failure is reported by the installation of all requirements, which follows.
    _pip(python, "install", TORCH)


def _pip(python: Path, *arguments: str, quietly: bool = False) -> bool:
    options = ["-qq", "--disable-pip-version-check", "--no-input"]
    command = [str(python), "-m", "pip", *arguments, *options]
    output = subprocess.DEVNULL if quietly else sys.stderr
    return subprocess.run(command, stdout=output, stderr=output, check=False).returncode == 0


def _run_quietly(*command: str) -> bool:
    try:
        completed = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return False
    return completed.returncode == 0


def _can_be_root() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Commands that are started at the same time must not install at the same time."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
