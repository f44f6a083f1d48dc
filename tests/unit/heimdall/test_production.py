"""`check --deploy` in a production environment, and on a machine without configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from heimdall.env import is_public

LOOK = "from django.conf import settings as s; print(s.HTTPS, s.SESSION_COOKIE_SECURE)"


def run(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "heimdall.settings",
            "HEIMDALL_DATA_DIR": str(folder),
            "DATABASE_URL": "",
            "DJANGO_DEBUG": "0",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_deploy_check_of_a_public_host_has_no_warnings(tmp_path: Path) -> None:
    output = run(
        tmp_path,
        *("manage.py", "check", "--deploy", "--fail-level", "WARNING"),
        DJANGO_ALLOWED_HOSTS="heimdall.example.org",
    )
    assert output == "System check identified no issues (0 silenced).\n"


@pytest.mark.parametrize(
    ("environment", "https"),
    [
        ({}, False),
        ({"DJANGO_ALLOWED_HOSTS": "web,10.0.0.5,*"}, False),
        ({"DJANGO_ALLOWED_HOSTS": "heimdall.example.org"}, True),
        ({"DJANGO_ALLOWED_HOSTS": "heimdall.example.org", "HEIMDALL_HTTPS": "0"}, False),
        ({"HEIMDALL_HTTPS": "1"}, True),
    ],
)
def test_https_is_on_for_public_hosts_unless_set(
    tmp_path: Path, environment: dict[str, str], https: bool
) -> None:
    assert run(tmp_path, "-c", LOOK, **environment) == f"{https} {https}\n"


def test_public_host_names_are_recognized() -> None:
    assert not any(map(is_public, ["localhost", "127.0.0.1", "[::1]", "web", "*"]))
    assert is_public(".example.org")
