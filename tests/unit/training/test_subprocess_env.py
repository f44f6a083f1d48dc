from __future__ import annotations

import pytest

from training.subprocess_env import SECRET_VARIABLES, without_secrets


def test_the_engine_inherits_everything_but_our_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRET_VARIABLES, "SOMETHING_ELSE"):
        monkeypatch.setenv(name, "kept-to-ourselves")
    found = without_secrets(OMP_NUM_THREADS="1")
    assert found["SOMETHING_ELSE"] == "kept-to-ourselves"
    assert found["OMP_NUM_THREADS"] == "1"
    assert not found.keys() & set(SECRET_VARIABLES)
