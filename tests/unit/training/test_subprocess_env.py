from __future__ import annotations

import pytest

from heimdall.env import Environment, variable_names
from training.subprocess_env import SECRET_VARIABLES, without_secrets


def test_subprocess_environment_excludes_only_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRET_VARIABLES, "SOMETHING_ELSE"):
        monkeypatch.setenv(name, "kept-to-ourselves")
    found = without_secrets(OMP_NUM_THREADS="1")
    assert found["SOMETHING_ELSE"] == "kept-to-ourselves"
    assert found["OMP_NUM_THREADS"] == "1"
    assert not found.keys() & set(SECRET_VARIABLES)


def test_every_variable_with_a_secret_is_removed() -> None:
    known = {name for field in Environment.model_fields for name in variable_names(field)}
    public = {"HEIMDALL_WEB_URL"}
    secret = {name for name in known if "SECRET" in name or name.endswith("_URL")} - public
    assert "HEIMDALL_OIDC_CLIENT_SECRET" in secret
    assert secret <= set(SECRET_VARIABLES)
