#!/usr/bin/env python3
"""Django's command line. `demo` and `test` first install what they need."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# What each of these commands needs installed.
REQUIREMENTS = {
    "demo": ["requirements.txt"],
    "test": ["requirements.txt", "tests/requirements.txt"],
    "check_all": ["requirements.txt", "tests/requirements.txt"],
}


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in REQUIREMENTS:
        from heimdall.bootstrap import ensure_installed

        ensure_installed(Path(__file__).resolve().parent, REQUIREMENTS[command])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")
    from heimdall.command_line import run

    run(sys.argv)


if __name__ == "__main__":
    main()
