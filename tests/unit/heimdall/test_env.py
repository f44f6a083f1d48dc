"""Parsing of the environment variables; each invalid value becomes one problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from heimdall.env import (
    Environment,
    Problem,
    check_data_dir,
    read_environment,
    variable_names,
)
from tests.unit.test_docs import CONFIGURATION


def read_problem(**variables: str) -> Problem:
    """The only problem of these variables, after checking that they fall back to the default."""
    environment, (problem,) = read_environment(variables)
    assert environment == Environment()
    return problem


@pytest.mark.parametrize(
    ("value", "meaning"), [("1", True), ("true", True), ("Yes", True), ("off", False), ("0", False)]
)
def test_bool_accepts_usual_spellings(value: str, meaning: bool) -> None:
    environment, problems = read_environment({"HEIMDALL_HTTPS": value})
    assert environment.https is meaning
    assert problems == ()


def test_bool_with_another_value_is_a_problem() -> None:
    problem = read_problem(DJANGO_DEBUG="perhaps")
    assert problem.id == "heimdall.E001"
    assert problem.message == "DJANGO_DEBUG='perhaps' is neither true nor false."


def test_empty_variable_counts_as_unset() -> None:
    assert read_environment({"RABBITMQ_URL": "", "HEIMDALL_LEASE_SECONDS": ""}) == (
        Environment(),
        (),
    )


@pytest.mark.parametrize("url", ["http://x", "amqp://", "localhost:5672", "amqp://h:port/"])
def test_invalid_broker_url_is_a_problem_without_its_password(url: str) -> None:
    problem = read_problem(RABBITMQ_URL=url.replace("://", "://guest:geheim@", 1))
    assert problem.id == "heimdall.E002"
    assert "geheim" not in problem.message
    assert "amqp://USER:PASSWORD@HOST:5672/%2F" in problem.hint


@pytest.mark.parametrize(
    "url", ["mysql://u:geheim@h/n", "postgres://", "postgres://u:geheim@h:port/n", "nonsense"]
)
def test_unsupported_database_url_is_a_problem_without_its_password(url: str) -> None:
    problem = read_problem(DATABASE_URL=url)
    assert problem.id == "heimdall.E004"
    assert "geheim" not in problem.message


def test_data_dir_that_cannot_be_created_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = check_data_dir(tmp_path / "file" / "data")
    assert problem is not None
    assert problem.id == "heimdall.E003"
    assert str(tmp_path / "file" / "data") in problem.message


def test_data_dir_is_created(tmp_path: Path) -> None:
    assert check_data_dir(tmp_path / "new" / "data") is None
    assert (tmp_path / "new" / "data" / "static").is_dir()


@pytest.mark.parametrize("host", ["https://example.org", "example.org:8001"])
def test_host_with_scheme_or_port_is_a_problem(host: str) -> None:
    problem = read_problem(DJANGO_ALLOWED_HOSTS=f"localhost, {host}")
    assert problem.id == "heimdall.E006"
    assert repr(host) in problem.message


@pytest.mark.parametrize("value", ["soon", "0", "-1", "1.5", "²"])
def test_invalid_integer_is_a_problem(value: str) -> None:
    problem = read_problem(HEIMDALL_LEASE_SECONDS=value)
    assert problem.id == "heimdall.E005"
    assert problem.message.startswith(f"HEIMDALL_LEASE_SECONDS={value!r} ")


@pytest.mark.parametrize("name", ["HEIMDALL_LOG_FORMAT", "HEIMDALL_LOG_LEVEL"])
def test_unknown_choice_is_a_problem_that_lists_the_choices(name: str) -> None:
    problem = read_problem(**{name: "loud"})
    assert problem.id == "heimdall.E008"
    assert " or " in problem.hint


def test_unknown_hardware_is_a_problem() -> None:
    assert read_problem(HEIMDALL_WORKER_HAS="cpu,tpu").id == "heimdall.E009"


def test_hardware_is_ordered() -> None:
    assert read_environment({"HEIMDALL_WORKER_HAS": "gpu, cpu"})[0].worker_has == ("cpu", "gpu")


def test_all_problems_are_reported_and_valid_variables_kept() -> None:
    environment, problems = read_environment(
        {"DJANGO_DEBUG": "x", "HEIMDALL_PROXIES": "y", "HEIMDALL_LEASE_SECONDS": "30"}
    )
    assert [problem.message.partition("=")[0] for problem in problems] == [
        "DJANGO_DEBUG",
        "HEIMDALL_PROXIES",
    ]
    assert environment.lease_seconds == 30


def test_maintenance_interval_is_read_under_its_earlier_name_too() -> None:
    old, new = "HEIMDALL_KEEPER_SECONDS", "HEIMDALL_MAINTENANCE_SECONDS"
    assert read_environment({old: "5"})[0].maintenance_seconds == 5
    assert read_environment({old: "5", new: "7"})[0].maintenance_seconds == 7
    assert read_problem(**{old: "x"}).message.startswith(f"{old}='x' ")


def test_every_variable_is_described_and_documented() -> None:
    for name, field in Environment.model_fields.items():
        assert field.description
        assert f"`{variable_names(name)[0]}`" in CONFIGURATION
