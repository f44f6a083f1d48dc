"""Deployment files are valid and refer to existing names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands
from prometheus_client import REGISTRY

from heimdall import metrics
from heimdall.env import Environment, variable_names
from tests.unit.test_docs import CONFIGURATION

ROOT = Path(settings.BASE_DIR)
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VARIABLES = {name for field in Environment.model_fields for name in variable_names(field)} | {
    "HEIMDALL_NO_VENV"
}


def parsed(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


SERVICES: dict[str, dict[str, Any]] = parsed("compose.yaml")["services"]


def unit(path: Path) -> ConfigParser:
    found = ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(path.read_text(encoding="utf-8"))
    return found


def runs_something_that_is_there(command: list[str]) -> bool:
    match command:
        case [python, "manage.py", name, *_] if python.endswith("python"):
            return name in get_commands()
        case [celery, "-A", "heimdall", "worker", *_]:
            return celery.endswith("celery") and (ROOT / "heimdall/celery.py").exists()
    return False


def test_variables_in_deploy_files_exist_and_are_documented() -> None:
    lines = (DEPLOY / "systemd/heimdall.env").read_text().splitlines()
    named = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    for service in ("migrate", "web", "worker", "worker-gpu"):
        named |= SERVICES[service]["environment"].keys()
    named |= set(re.findall(r"HEIMDALL_[A-Z_]+(?==)", (ROOT / "Dockerfile").read_text()))
    assert {"DATABASE_URL", "RABBITMQ_URL", "HEIMDALL_DATA_DIR", "HEIMDALL_WORKER_HAS"} <= named
    assert named <= VARIABLES
    assert {name for name in named if f"`{name}`" not in CONFIGURATION} == set()


def test_deploy_files_contain_no_secret() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if any(word in name for word in ("SECRET", "PASS", "URL")):
                assert re.search(r"\$\{[A-Z_]+:\?[^}]+\}", value), name
    secrets = re.findall(
        r"^.*(?:SECRET|PASSWORD).*$", (DEPLOY / "systemd/heimdall.env").read_text(), re.MULTILINE
    )
    assert [secret for secret in secrets if not re.search(r"(=|:PASSWORD@.*)$", secret)] == []


def test_compose_dependencies_exist_and_have_health_checks() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_completed_successfully" or (
                "healthcheck" in SERVICES[other]
            ), name
        for mount in service.get("volumes", []):
            assert mount.partition(":")[0] in parsed("compose.yaml")["volumes"]
    commands = [service["command"] for service in SERVICES.values() if "command" in service]
    (image,) = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert [
        command
        for command in [*commands, json.loads(image)]
        if not runs_something_that_is_there(command)
    ] == []
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]


def test_image_runs_as_a_user_and_copies_existing_files() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    assert [pattern for pattern in kept if not (ROOT / pattern).exists()] == []
    copied = [
        word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()
    ]
    assert [path for path in copied if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_units_run_existing_commands(path: Path, tmp_path: Path) -> None:
    service = unit(path)["Service"]
    assert runs_something_that_is_there(service["ExecStart"].split())
    assert service["User"] != "root"
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("needs systemd-analyze")
    # It asks whether the program is there, and knows no units but those of this machine.
    program = tmp_path / ".venv/bin/any"
    program.parent.mkdir(parents=True)
    program.symlink_to(shutil.which("true") or "/bin/true")
    text = path.read_text().replace("/opt/heimdall", str(tmp_path))
    copy = tmp_path / path.name.replace("@", "@1")
    copy.write_text(re.sub(r"bin/(python|celery)", "bin/any", text))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if copy.name in line] == []


def exported_metrics() -> dict[str, set[str]]:
    """Every sample's name with its labels; of a family without any yet, the names it will have."""
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    kinds = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
    for family in REGISTRY.collect():
        for end in kinds.get(family.type, ("",)):
            found[family.name + end] = {"job", "instance", "le"}
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels, {"job", "instance"})
    for metric in (metrics.HTTP,):
        for end in kinds["histogram"]:
            found[f"heimdall_http_seconds{end}"] |= set(metric._labelnames)
    found["heimdall_sockets_refused_total"].add("code")
    return found


def expressions() -> Iterator[str]:
    for group in parsed("deploy/alerts.yml")["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"] and rule["labels"]["severity"]
            yield rule["expr"]
    board = json.loads((DEPLOY / "grafana/heimdall.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${source}"
            yield target["expr"]


@pytest.mark.django_db
def test_alerts_and_panels_use_exported_metrics() -> None:
    there = exported_metrics()
    for expression in expressions():
        assert expression.count("(") == expression.count(")"), expression
        named = re.findall(r"\b((?:heimdall|process|python)_\w+|up)\b(?:\{(.*?)\})?", expression)
        assert named, expression
        grouped = {
            label for by in re.findall(r"by \((.*?)\)", expression) for label in by.split(", ")
        }
        for name, labels in named:
            assert name in there, expression
            assert set(re.findall(r"(\w+)[=!]~?\"", labels)) <= there[name], expression
        assert grouped <= {label for name, _ in named for label in there[name]}, expression


def test_every_alert_is_documented() -> None:
    (rules,) = parsed("deploy/prometheus.yml")["rule_files"]
    groups = parsed(f"deploy/{rules}")["groups"]
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    assert [name for name in alerts if f"`{name}`" not in operations] == []


def test_proxies_pass_websockets_and_hide_metrics() -> None:
    check_proxy("nginx.conf", "Caddyfile")
    check_proxy("nginx-base-path.conf", "Caddyfile-base-path")


def test_proxies_pass_the_largest_artifact() -> None:
    """The web process limits bodies by path, so that a lower limit here would only hide that."""
    found = {}
    for path in [*DEPLOY.glob("nginx*.conf"), *DEPLOY.glob("Caddyfile*")]:
        text = path.read_text()
        found[path.name] = [
            *(int(size) * 2**20 for size in re.findall(r"client_max_body_size (\d+)m;", text)),
            *(int(size) * 10**6 for size in re.findall(r"max_size (\d+)MB\n", text)),
        ]
    assert len(found) == 4
    for name, (size,) in found.items():
        assert size >= settings.ARTIFACTS_MAX_BYTES, name


def check_proxy(nginx_file: str, caddy_file: str) -> None:
    nginx, caddy = (DEPLOY / nginx_file).read_text(), (DEPLOY / caddy_file).read_text()
    assert nginx.count("{") == nginx.count("}") and caddy.count("{") == caddy.count("}")
    for directive in ("Upgrade $http_upgrade", "proxy_buffering off", "X-Forwarded-Proto $scheme"):
        assert directive in nginx
    assert "flush_interval -1" in caddy
    for text in (nginx, caddy):
        assert "metrics" in text and "readyz" in text
