"""Modules that packages load at run time, which import contracts cannot check."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings

WEB = "import heimdall.asgi, heimdall.urls, training.web.urls, training.api.urls, training.admin"
WORKER = "import heimdall.celery; heimdall.celery.app.loader.import_default_modules()"
ENGINE = "import training.localization.__main__, training.localization.evaluation.evaluate"


def loaded(program: str) -> set[str]:
    begin = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'heimdall.settings'; "
    setup = begin + "django.setup(); " if program is not ENGINE else ""
    completed = subprocess.run(
        [sys.executable, "-c", f"{setup}{program}; import sys; print(*sys.modules)"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(completed.stdout.split())


@pytest.mark.parametrize("program", [WEB, WORKER], ids=["web", "worker"])
def test_web_and_worker_do_not_import_torch(program: str) -> None:
    assert "torch" not in loaded(program)


def test_localization_imports_no_web_framework() -> None:
    assert not loaded(ENGINE) & {"django", "celery", "kombu", "channels", "rest_framework"}
