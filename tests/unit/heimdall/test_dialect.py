from __future__ import annotations

from pathlib import Path

import pytest

from heimdall.dialect import (
    GLOSSARY,
    forbidden_words,
    javascript_identifiers,
    python_identifiers,
    split_words,
    violations,
)

FORBIDDEN = {"told": "event", "wishes": "action"}


def test_forbidden_words_come_from_the_glossary() -> None:
    forbidden = forbidden_words(GLOSSARY.read_text(encoding="utf-8"))
    assert forbidden["told"] == "event, report, reported"
    assert forbidden["wishes"] == forbidden["wish"] == "action"
    assert "old" not in forbidden


def test_glossary_without_the_section_is_an_error() -> None:
    with pytest.raises(ValueError, match="no section '## Do not use'"):
        forbidden_words("# Glossary")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("told_by", ["told", "by"]),
        ("_TOLD", ["told"]),
        ("ToldByAPI", ["told", "by", "api"]),
        ("byAsking2", ["by", "asking"]),
        ("toldest", ["toldest"]),
    ],
)
def test_names_are_split_into_words(name: str, words: list[str]) -> None:
    assert split_words(name) == words


@pytest.mark.parametrize(
    "source",
    [
        "def told(): ...",
        "async def it_told(): ...",
        "class Told: ...",
        "def f(told): ...",
        "def f(*told): ...",
        "f(told=1)",
        "told = 1",
        "x.told",
        "import x as told",
        "from told import x",
        "from x import told",
        "import told.x",
        "try: ...\nexcept E as told: ...",
        "match x:\n    case told: ...",
    ],
)
def test_python_names_are_found(source: str) -> None:
    assert "told" in " ".join(name.lower() for _, name in python_identifiers(source))
    assert violations(Path("module.py"), source, FORBIDDEN)


def test_python_strings_and_comments_are_not_checked() -> None:
    assert violations(Path("module.py"), 'x = "told"  # told', FORBIDDEN) == []


def test_javascript_strings_and_comments_are_not_checked() -> None:
    source = "// told\nconst x = 'told' + `told`; /* told\n */ f(told);"
    assert [place for place in javascript_identifiers(source) if place[1] == "told"] == [
        (3, "told")
    ]


def test_violation_message_has_location_name_and_standard_term() -> None:
    assert violations(Path("a/b.py"), "\nx.userWishes = 1", FORBIDDEN) == [
        "a/b.py:2: userWishes: use action instead of 'wishes'"
    ]


def test_file_names_are_checked() -> None:
    assert violations(Path("a/told/b.html"), "", FORBIDDEN) == [
        "a/told/b.html:0: told: use event instead of 'told'"
    ]
