from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks

from heimdall import checks


def test_checks_pass_in_the_default_environment() -> None:
    assert run_checks() == []


def test_data_folder_open_to_others_is_a_warning(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o750)
    (warning,) = checks.data_folder()
    assert warning.id == "heimdall.W001"
    assert "(mode 0750)" in warning.msg and "chmod 700" in str(warning.hint)
    tmp_path.chmod(0o700)
    assert checks.data_folder() == []


def test_short_secret_key_is_an_error(settings) -> None:  # type: ignore[no-untyped-def]
    settings.SECRET_KEY = "short"
    (message,) = checks.secret_key()
    assert message.id == "heimdall.E007"
    assert "at least 32" in message.msg


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "manage.py", "serve"],
        [sys.executable, "-m", "celery", "-A", "heimdall", "worker"],
        [sys.executable, "-m", "daphne", "-p", "0", "heimdall.asgi:application"],
    ],
    ids=["serve", "worker", "daphne"],
)
def test_process_with_invalid_variable_exits_with_the_check_message(
    command: list[str], tmp_path: Path
) -> None:
    environment = {**os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "RABBITMQ_URL": "http://x"}
    done = subprocess.run(
        command,
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "heimdall.E002" in done.stdout + done.stderr
    assert "unset it to run embedded" in done.stdout + done.stderr
