from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from heimdall.secret_key import load_or_create_secret


def test_secret_is_created_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert load_or_create_secret(path) == load_or_create_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_concurrent_calls_return_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: load_or_create_secret(path), range(50)))) == 1


def test_unwritable_path_gives_a_temporary_secret(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(load_or_create_secret(tmp_path / "file" / "key")) > 40
