from __future__ import annotations

import os
from pathlib import Path

import pytest
from pytest_django import Settings

from training.programs import registry
from training.programs.manifest import ManifestError
from training.programs.registry import UnknownProgramError, describe_program, get_program

MANIFEST = 'title = "{}"\ncommand = ["python", "train.py"]\n'


@pytest.fixture
def programs_dir(tmp_path: Path, settings: Settings) -> Path:
    settings.PROGRAMS_DIR = tmp_path
    return tmp_path


def install(root: Path, name: str, text: str) -> Path:
    path = root / name / "program.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_installed_program_is_listed_after_the_built_in_one(programs_dir: Path) -> None:
    install(programs_dir, "digits", MANIFEST.format("Digits"))
    assert [program.name for program in registry.list_programs()] == ["localizer", "digits"]


def test_changed_manifest_is_read_again(programs_dir: Path) -> None:
    path = install(programs_dir, "digits", MANIFEST.format("Digits"))
    assert get_program("digits").title == "Digits"
    path.write_text(MANIFEST.format("Handwriting"))
    os.utime(path, ns=(1, 1))
    assert get_program("digits").title == "Handwriting"


def test_broken_manifest_does_not_hide_the_others(programs_dir: Path) -> None:
    install(programs_dir, "broken", "title = 3")
    install(programs_dir, "digits", MANIFEST.format("Digits"))
    assert [program.name for program in registry.list_programs()] == ["localizer", "digits"]
    assert isinstance(dict(registry.load_installed())["broken"], ManifestError)


def test_unknown_program_names_those_installed(programs_dir: Path) -> None:
    install(programs_dir, "digits", MANIFEST.format("Digits"))
    with pytest.raises(UnknownProgramError, match="Unknown program 'digit'; installed: localizer"):
        get_program("digit")


def test_program_that_was_removed_can_still_be_described(programs_dir: Path) -> None:
    program = describe_program("gone")
    assert (program.title, program.charts, program.headline_name) == ("gone", (), "")
