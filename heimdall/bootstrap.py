"""From a bare Python to one that has everything: makes `.venv`, fills it, and starts again in it.

Standard library only, and imported before anything else is there.
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

OLDEST = (3, 11)
TORCH = "torch==2.13.0"


def ensure_installed(root: Path, requirements: Sequence[str]) -> None:
    """Return inside an environment that has `requirements`; else make it and re-execute there."""
    if os.environ.get("HEIMDALL_NO_VENV") == "1":
        return
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Heimdall needs Python 3.11 or newer; this is {found} ({sys.executable}).")
    venv = root / ".venv"
    python = venv / "bin" / "python"
    with _exclusive(root / ".venv.lock"):
        for name in requirements:
            stamp = venv / f".installed-{name.replace('/', '-')}"
            wanted = _fingerprint(root / name)
            if not stamp.exists() or stamp.read_text(encoding="ascii") != wanted:
                _install(python, root / name)
                stamp.write_text(wanted, encoding="ascii")
    if Path(sys.prefix).resolve() != venv.resolve():
        os.execv(python, [str(python), *sys.argv])


def _fingerprint(requirements: Path) -> str:
    """Of what is wanted and of the Python that gets it."""
    version = ".".join(map(str, sys.version_info[:2]))
    return hashlib.sha256(version.encode() + requirements.read_bytes()).hexdigest()


def _install(python: Path, requirements: Path) -> None:
    venv = python.parent.parent
    if not python.exists():
        _print(f"Setting up {venv} (once; later starts are quick) ...")
        _make_venv(venv)
    if "torch==" in requirements.read_text(encoding="utf-8"):
        _install_torch(python)
    _print(f"Installing what {requirements.relative_to(venv.parent)} names (a minute or so) ...")
    if not _pip(python, "install", "--requirement", str(requirements)):
        sys.exit(
            "The installation failed, see above. Once that is put right, run the same command "
            "again: what is there already is kept."
        )


def _make_venv(venv: Path) -> None:
    """Also on a Debian that splits `ensurepip` off into a package of its own."""
    if _run_quietly(sys.executable, "-m", "venv", str(venv)):
        return
    shutil.rmtree(venv, ignore_errors=True)
    if _can_be_root() and _run_quietly("apt-get", "install", "--yes", "python3-venv"):
        if _run_quietly(sys.executable, "-m", "venv", str(venv)):
            return
        shutil.rmtree(venv, ignore_errors=True)
    pip_elsewhere = shutil.which("pip3") or shutil.which("pip")
    if pip_elsewhere and _run_quietly(sys.executable, "-m", "venv", "--without-pip", str(venv)):
        python = str(venv / "bin" / "python")
        if _run_quietly(pip_elsewhere, "--python", python, "install", "pip"):
            return
    sys.exit(
        "This Python cannot make a virtual environment. On Debian and Ubuntu type:\n"
        "    sudo apt install python3-venv\n"
        "and run the same command again (or set HEIMDALL_NO_VENV=1 to use this Python as it is)."
    )


def _install_torch(python: Path) -> None:
    """The CPU build where there is no NVIDIA driver: a tenth of the size."""
    cpu_only = sys.platform == "linux" and shutil.which("nvidia-smi") is None
    _print("Installing PyTorch (some 200 MB) ...")
    if cpu_only and _pip(python, "install", f"{TORCH}+cpu", quietly=True):
        return
    if cpu_only:
        _print("The CPU build is not offered here; the full one is some gigabytes, with CUDA.")
    # A failure is told by the installation of all requirements, which follows.
    _pip(python, "install", TORCH)


def _pip(python: Path, *arguments: str, quietly: bool = False) -> bool:
    options = ["-qq", "--disable-pip-version-check", "--no-input"]
    command = [str(python), "-m", "pip", *arguments, *options]
    output = subprocess.DEVNULL if quietly else sys.stderr
    return subprocess.run(command, stdout=output, stderr=output, check=False).returncode == 0


def _run_quietly(*command: str) -> bool:
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def _can_be_root() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Two commands started at once must not install into each other's way."""
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
