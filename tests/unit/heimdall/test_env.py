from __future__ import annotations

from pathlib import Path

import pytest

from heimdall.env import Environment


@pytest.fixture
def env() -> Environment:
    return Environment()


@pytest.mark.parametrize(
    ("value", "meant"), [("1", True), ("true", True), ("Yes", True), ("off", False), ("0", False)]
)
def test_a_switch_is_read_as_people_write_it(
    env: Environment, monkeypatch: pytest.MonkeyPatch, value: str, meant: bool
) -> None:
    monkeypatch.setenv("DJANGO_DEBUG", value)
    assert env.switch("DJANGO_DEBUG", default=not meant) is meant
    assert env.problems == []


def test_an_empty_variable_counts_as_unset(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "")
    assert env.broker("RABBITMQ_URL") is None
    assert env.problems == []


@pytest.mark.parametrize("url", ["http://x", "amqp://", "localhost:5672", "amqp://h:port/"])
def test_a_broker_that_is_none_is_refused_and_its_password_kept_back(
    env: Environment, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", url.replace("://", "://guest:geheim@", 1))
    env.broker("RABBITMQ_URL")
    (problem,) = env.problems
    assert problem.id == "heimdall.E002"
    assert "geheim" not in problem.message
    assert "amqp://USER:PASSWORD@HOST:5672/%2F" in problem.hint


@pytest.mark.parametrize("url", ["mysql://u@h/n", "postgres://", "nonsense"])
def test_an_unknown_database_is_refused(
    env: Environment, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert env.database("DATABASE_URL", "sqlite:////tmp/x")["NAME"] == "/tmp/x"
    assert [problem.id for problem in env.problems] == ["heimdall.E004"]


def test_a_folder_that_cannot_be_made_is_refused(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEIMDALL_DATA_DIR", str(tmp_path / "file" / "data"))
    env.folder("HEIMDALL_DATA_DIR", tmp_path)
    (problem,) = env.problems
    assert problem.id == "heimdall.E003"
    assert str(tmp_path / "file" / "data") in problem.message


@pytest.mark.parametrize("host", ["https://example.org", "example.org:8001"])
def test_a_host_is_a_name_alone(
    env: Environment, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DJANGO_ALLOWED_HOSTS", f"localhost, {host}")
    env.hosts("DJANGO_ALLOWED_HOSTS", [])
    assert [problem.id for problem in env.problems] == ["heimdall.E006"]


def test_a_count_is_a_whole_number(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEIMDALL_LEASE_SECONDS", "soon")
    assert env.count("HEIMDALL_LEASE_SECONDS", 15) == 15
    assert [problem.id for problem in env.problems] == ["heimdall.E005"]
