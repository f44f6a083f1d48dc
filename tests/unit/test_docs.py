"""Paths, commands and variables in the documentation exist, and each variable is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md")),
]
# Accepted under its old name, documented under the new one.
OLD_NAMES = {"HEIMDALL_KEEPER_SECONDS"}
COMMANDS = r"manage\.py (?!check --)(\w+)"


def test_every_variable_is_documented() -> None:
    code = (ROOT / "heimdall/env.py").read_text() + (ROOT / "heimdall/bootstrap.py").read_text()
    names = set(re.findall(r'"((?:HEIMDALL|DJANGO|RABBITMQ|DATABASE)_[A-Z_]+)"', code))
    assert len(names) >= 8
    assert {name for name in names - OLD_NAMES if f"| `{name}` |" not in CONFIGURATION} == set()


def test_commands_in_the_readme_exist() -> None:
    named = set(re.findall(COMMANDS, README))
    assert {"demo", "test", "serve", "check_all"} <= named
    assert named <= set(get_commands())


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    rooms = "heimdall|training|realtime|tests|benchmarks|deploy|docs"
    paths = re.findall(rf"`((?:{rooms})/[\w./@-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_variables_and_commands_in_a_page_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = (
        set(re.findall(r"\b((?:HEIMDALL|DJANGO)_[A-Z_]+)\b", text))
        - {"HEIMDALL_CLIENTS", "HEIMDALL_FAULTS", "HEIMDALL_STORM_MINUTES", "HEIMDALL_STORM_SEED"}
        - OLD_NAMES
    )
    assert {name for name in named if f"| `{name}` |" not in CONFIGURATION} == set()
    assert set(re.findall(COMMANDS, text)) <= set(get_commands())


def test_architecture_describes_every_package() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    packages = [
        path.parent.name
        for folder in ("training", "training/localization")
        for path in ROOT.glob(f"{folder}/*/__init__.py")
        if path.parent.name not in {"management", "migrations"}
    ]
    assert len(packages) > 15
    assert [name for name in packages if f"`{name}`" not in text] == []
