"""Static files: collection, and responses to a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage

from heimdall import static_files
from tests.stack import Stack


@pytest.mark.xdist_group("embedded")
def test_static_files_are_compressed_and_immutable(embedded: Stack) -> None:
    page = httpx.get(f"{embedded.url}/login", headers={"Accept-Encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    style = re.search(r'href="(/static/training/style\.[0-9a-f]{12}\.css)"', page.text)
    assert style
    answer = httpx.get(f"{embedded.url}{style[1]}", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.xdist_group("embedded")
def test_modules_import_each_other_by_hashed_names(embedded: Stack) -> None:
    root = embedded.folder / "static" / "training"
    (job,) = root.glob("job.*.js")
    imported = re.findall(r'from "\./([^"]+)"', job.read_text(encoding="utf-8"))
    assert len(imported) > 5
    assert all((root / name).exists() for name in imported)


def test_collect_runs_once_and_again_after_a_change(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    source = tmp_path / "sources"
    source.mkdir()
    (source / "a.css").write_text("a{}", encoding="utf-8")
    calls: list[str] = []
    monkeypatch.setattr(static_files, "call_command", lambda name, **_: calls.append(name))

    class Finder:
        def list(self, ignored: list[str]):  # type: ignore[no-untyped-def]
            yield "a.css", StaticFilesStorage(str(source))

    monkeypatch.setattr(finders, "get_finders", lambda: [Finder()])
    static_files.collect()
    static_files.collect()
    assert calls == ["collectstatic"]
    (source / "a.css").write_text("a{color:red}", encoding="utf-8")
    static_files.collect()
    assert calls == ["collectstatic"] * 2
