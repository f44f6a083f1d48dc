"""Benchmarks; each prints its figures next to a reference measured in the same run."""

import sys
from importlib.util import find_spec

missing = [name for name in ("httpx", "websockets", "playwright") if find_spec(name) is None]
if missing:
    sys.exit(
        f"The benchmarks need {', '.join(missing)}. "
        "Install: .venv/bin/python -m pip install --requirement tests/requirements.txt"
    )
