"""Static files under names that hold their content's hash, so that a browser keeps them for good.

They are collected when the first web process of an installation starts, and again only when a file
has changed: a later start looks at dates and sizes alone.
"""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, StaticFilesStorage
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

# Not ours to show: the browsable API is off, and the docs use one of the two viewers.
EXCLUDED = ["rest_framework/*", "django_filters/*", "*/redoc/*", "*.map", "*.LICENSE.txt"]


class HashedStorage(CompressedManifestStaticFilesStorage):
    """Plain names as long as nothing has been collected (in tests, while developing)."""

    support_js_module_import_aggregation = True  # modules import each other by hashed names too
    keep_only_hashed_files = True
    # url() and @import; not the names of source maps, which are left out.
    patterns = (("*.css", ManifestStaticFilesStorage.patterns[0][1][:2]),)

    def url(self, name: str | None, force: bool = False) -> str:
        if not self.hashed_files:
            return StaticFilesStorage.url(self, name)
        return str(super().url(name, force))


def collect() -> None:
    """Have STATIC_ROOT as the sources are now; one process does it, the others wait for it."""
    if settings.DEBUG:
        return
    root = Path(settings.STATIC_ROOT)
    with (root.parent / "static.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, now = root / "collected", _sources()
        if not stamp.exists() or stamp.read_text(encoding="ascii") != now:
            call_command(
                "collectstatic", interactive=False, clear=True, verbosity=0,
                ignore_patterns=EXCLUDED,
            )  # fmt: skip
            stamp.write_text(now, encoding="ascii")


def _sources() -> str:
    """A digest of what would be collected, by name, size and date."""
    told: list[Any] = [django.__version__]
    for finder in finders.get_finders():
        for name, storage in finder.list(EXCLUDED):
            found = Path(storage.path(name)).stat()
            told.append((name, found.st_size, found.st_mtime_ns))
    return hashlib.sha256(repr(sorted(map(str, told))).encode()).hexdigest()
