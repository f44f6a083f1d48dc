from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from heimdall.secret_key import load_or_create_secret


def test_it_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert load_or_create_secret(path) == load_or_create_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_whoever_comes_first_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: load_or_create_secret(path), range(50)))) == 1


def test_where_nothing_can_be_written_it_lives_as_long_as_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(load_or_create_secret(tmp_path / "file" / "key")) > 40
