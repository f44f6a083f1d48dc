"""Static files with content hashes in their names, which browsers can cache forever.

The first web process collects them. A later start collects again only if the name, size or date of
a file has changed.
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

# Unused: the browsable API is off, and the docs use one of the two viewers.
EXCLUDED = ["rest_framework/*", "django_filters/*", "*/redoc/*", "*.map", "*.LICENSE.txt"]


class HashedStorage(CompressedManifestStaticFilesStorage):
    """Uses plain names where nothing has been collected (in tests and development)."""

    support_js_module_import_aggregation = True  # modules import each other by hashed names too
    keep_only_hashed_files = True
    # url() and @import, but not sourceMappingURL: source maps are excluded.
    patterns = (("*.css", ManifestStaticFilesStorage.patterns[0][1][:2]),)

    def url(self, name: str | None, force: bool = False) -> str:
        if not self.hashed_files:
            return StaticFilesStorage.url(self, name)
        return str(super().url(name, force))


def collect() -> None:
    """Bring STATIC_ROOT up to date; one process does it while the others wait."""
    if settings.DEBUG:
        return
    root = Path(settings.STATIC_ROOT)
    with (root.parent / "static.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, digest = root / "collected", _digest_sources()
        if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
            call_command(
                "collectstatic", interactive=False, clear=True, verbosity=0,
                ignore_patterns=EXCLUDED,
            )  # fmt: skip
            stamp.write_text(digest, encoding="ascii")


def _digest_sources() -> str:
    files: list[Any] = [django.__version__]
    for finder in finders.get_finders():
        for name, storage in finder.list(EXCLUDED):
            stat = Path(storage.path(name)).stat()
            files.append((name, stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(repr(sorted(map(str, files))).encode()).hexdigest()
