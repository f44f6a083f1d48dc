"""`make lock`: writes requirements.lock with uv, for CPython on Linux and macOS."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = (
    "implementation_name == 'cpython' and platform_python_implementation == 'CPython' "
    "and sys_platform != 'win32'"
)
# Their builds differ by machine, and torch pins the others.
_WITHOUT = re.compile(r"torch|triton|nvidia-|cuda-")
HEAD = """\
# Everything that requirements.txt leads to, with hashes: `pip install --require-hashes --no-deps -r requirements.lock`.
# Without torch and NVIDIA's libraries, whose builds differ by machine; requirements.txt pins torch, and torch pins those.
# Made with `make lock`; tests compare it with what is installed.
"""  # noqa: E501


def lock_requirements(compiled: str) -> str:
    """The lock file from uv's output."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", compiled.strip())
    kept = [block for block in blocks if not _WITHOUT.match(block)]
    return HEAD + "\n".join(kept).replace(f" ; {ENVIRONMENT}", "") + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_text(
            f'[tool.uv]\nenvironments = ["{ENVIRONMENT}"]\n', encoding="utf-8"
        )
        command = [
            "uv", "pip", "compile", str(ROOT / "requirements.txt"), "--universal",
            "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate", "-q",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    (ROOT / "requirements.lock").write_text(lock_requirements(done.stdout), encoding="utf-8")


if __name__ == "__main__":
    main()
