"""What the README promises is there, and what is there the README names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(str(one.relative_to(ROOT)) for one in ROOT.glob("docs/**/*.md")),
]
# Accepted under its old name, documented under the new one.
OLD_NAMES = {"HEIMDALL_KEEPER_SECONDS"}
COMMANDS = r"manage\.py (?!check --)(\w+)"


def test_every_variable_is_explained() -> None:
    code = (ROOT / "heimdall/env.py").read_text() + (ROOT / "heimdall/bootstrap.py").read_text()
    names = set(re.findall(r'"((?:HEIMDALL|DJANGO|RABBITMQ|DATABASE)_[A-Z_]+)"', code))
    assert len(names) >= 8
    assert {name for name in names - OLD_NAMES if f"`{name}`" not in README} == set()


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(COMMANDS, README))
    assert {"demo", "test", "serve", "check_all"} <= named
    assert named <= set(get_commands())


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_path_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    rooms = "heimdall|training|realtime|tests|benchmarks|deploy|docs"
    paths = re.findall(rf"`((?:{rooms})/[\w./@-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_and_command_of_a_page_is_one_that_there_is(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = (
        set(re.findall(r"\b((?:HEIMDALL|DJANGO)_[A-Z_]+)\b", text))
        - {"HEIMDALL_FAULTS"}
        - OLD_NAMES
    )
    assert {name for name in named if f"| `{name}` |" not in README} == set()
    assert set(re.findall(COMMANDS, text)) <= set(get_commands())
