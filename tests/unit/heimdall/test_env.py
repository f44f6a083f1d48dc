"""Parsing of the environment variables; each invalid value becomes one problem."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heimdall.env import (
    BASE_DIR,
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


@pytest.mark.parametrize(
    "url", ["http://x", "amqp://", "localhost:5672", "amqp://h:port/", "amqp://[::1"]
)
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


def test_data_dir_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = check_data_dir(tmp_path / "file" / "data")
    assert problem is not None
    assert problem.id == "heimdall.E003"
    assert str(tmp_path / "file" / "data") in problem.message


def test_data_dir_is_created(tmp_path: Path) -> None:
    assert check_data_dir(tmp_path / "new" / "data") is None
    assert (tmp_path / "new" / "data" / "static").is_dir()


def test_data_dir_and_files_are_private_with_any_umask(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    code = (
        "import os; os.umask(0)\n"
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', verbosity=0)"
    )
    environment = {
        **os.environ, "HEIMDALL_DATA_DIR": str(folder), "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "heimdall.settings",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, env=environment, check=True)
    found = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert "heimdall.sqlite3" in found
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


@pytest.mark.parametrize(
    "origins", ["example.org", "https://", "https://example.org/path", "ftp://example.org", "*"]
)
def test_invalid_trusted_origin_is_a_problem(origins: str) -> None:
    problem = read_problem(DJANGO_CSRF_TRUSTED_ORIGINS=f"https://ok.example.org,{origins}")
    assert problem.id == "heimdall.E021"
    assert origins in problem.message


@pytest.mark.parametrize("host", ["https://example.org", "example.org:8001"])
def test_host_with_scheme_or_port_is_a_problem(host: str) -> None:
    problem = read_problem(DJANGO_ALLOWED_HOSTS=f"localhost, {host}")
    assert problem.id == "heimdall.E006"
    assert repr(host) in problem.message


@pytest.mark.parametrize("value", ["soon", "0", "-1", "1.5", "²", "2147483648", "9" * 5000])
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


@pytest.mark.parametrize(
    ("value", "parsed"),
    [("80%", "80%"), ("8G", "8000000000"), ("500mb", "500000000"), ("1000", "1000")],
)
def test_memory_is_a_size_or_a_percentage(value: str, parsed: str) -> None:
    environment, problems = read_environment({"HEIMDALL_TRAINER_MEMORY": value})
    assert (environment.trainer_memory, problems) == (parsed, ())


@pytest.mark.parametrize("value", ["0", "101%", "-1G", "8X", "much", "%"])
def test_memory_in_another_form_is_a_problem(value: str) -> None:
    assert read_problem(HEIMDALL_TRAINER_MEMORY=value).id == "heimdall.E013"


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


def test_maintenance_interval_accepts_its_former_variable_name() -> None:
    old, new = "HEIMDALL_KEEPER_SECONDS", "HEIMDALL_MAINTENANCE_SECONDS"
    assert read_environment({old: "5"})[0].maintenance_seconds == 5
    assert read_environment({old: "5", new: "7"})[0].maintenance_seconds == 7
    assert read_problem(**{old: "x"}).message.startswith(f"{old}='x' ")


def test_every_variable_is_described_and_documented() -> None:
    for name, field in Environment.model_fields.items():
        assert field.description
        assert f"`{variable_names(name)[0]}`" in CONFIGURATION


@pytest.mark.parametrize(
    ("value", "path"),
    [("/heimdall", "/heimdall"), ("/a/b-c.d/", "/a/b-c.d"), ("/", "")],
)
def test_base_path_has_no_slash_at_its_end(value: str, path: str) -> None:
    environment, problems = read_environment({"HEIMDALL_BASE_PATH": value})
    assert (environment.base_path, problems) == (path, ())


@pytest.mark.parametrize("value", ["heimdall", "//evil", "/a//b", "/..", "/a b", "/ü", "/a?b"])
def test_base_path_that_is_not_a_path_of_a_url_is_a_problem(value: str) -> None:
    problem = read_problem(HEIMDALL_BASE_PATH=value)
    assert problem.id == "heimdall.E012"
    assert "/heimdall" in problem.hint


@pytest.mark.parametrize(
    "value",
    [
        "tiles.example.org/{z}/{x}/{y}.png",
        "https://tiles.example.org/{z}/{x}.png",
        "https://{z}.example.org/{x}/{y}.png",
        "https://tiles.example.org;script-src/{z}/{x}/{y}",
        "ftp://tiles.example.org/{z}/{x}/{y}",
        "https://a.example.org:99999/{z}/{x}/{y}",
    ],
)
def test_map_tiles_need_a_url_with_zoom_column_and_row(value: str) -> None:
    problem = read_problem(HEIMDALL_MAP_TILES=value)
    assert problem.id == "heimdall.E025"
    assert "https://tiles.example.org/{z}/{x}/{y}.png" in problem.hint


def test_map_tiles_may_have_a_query() -> None:
    url = "http://10.0.0.5:8080/t/{z}/{x}/{y}.png?key=a"
    environment, problems = read_environment({"HEIMDALL_MAP_TILES": url})
    assert (environment.map_tiles, problems) == (url, ())
