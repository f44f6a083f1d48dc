"""Lint: refuses names that contain a word of the glossary's "Do not use" table.

`python -m heimdall.dialect` prints each offending identifier or file name and the word to use.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = ROOT / "docs/glossary.md"
SECTION = "## Do not use"
# Migrations keep the names they were released with; minified libraries are not ours.
EXCLUDED = re.compile(r"^(training/migrations/|docs/)|\.min\.js$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_JS_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*")
# Comments and strings of JavaScript are not identifiers; template literals are skipped whole.
_JS_TEXT = re.compile(
    r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|`(?:\\.|[^`\\])*`", re.DOTALL
)


def forbidden_words(glossary: str) -> dict[str, str]:
    _, found, section = glossary.partition(SECTION)
    if not found:
        raise ValueError(f"docs/glossary.md has no section {SECTION!r}.")
    rows = re.findall(r"^\| ([a-z, ]+) \| (.+?) \|$", section.split("\n## ")[0], re.MULTILINE)
    return {
        word: standard for words, standard in rows if words != "old" for word in words.split(", ")
    }


def split_words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def python_identifiers(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of everything that the source defines or uses by name."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield line, node.name
            case ast.Name():
                yield line, node.id
            case ast.Attribute():
                yield line, node.attr
            case ast.arg() | ast.keyword() if node.arg:
                yield line, node.arg
            case ast.ImportFrom() if node.module:
                yield line, node.module
            case ast.alias():
                yield line, node.asname or node.name
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
                yield line, node.name


def javascript_identifiers(source: str) -> Iterator[tuple[int, str]]:
    code = _JS_TEXT.sub(lambda text: "\n" * text[0].count("\n"), source)
    for number, line in enumerate(code.splitlines(), 1):
        yield from ((number, name) for name in _JS_IDENTIFIER.findall(line))


def violations(path: Path, text: str, forbidden: Mapping[str, str]) -> list[str]:
    names = [(0, part) for part in path.with_suffix("").parts]
    if path.suffix == ".py":
        names.extend(python_identifiers(text))
    elif path.suffix == ".js":
        names.extend(javascript_identifiers(text))
    found = {
        (line, name, word)
        for line, name in names
        for word in split_words(name)
        if word in forbidden
    }
    return [
        f"{path}:{line}: {name}: use {forbidden[word]} instead of '{word}'"
        for line, name, word in sorted(found)
    ]


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [
        Path(name)
        for name in listing.splitlines()
        if not EXCLUDED.search(name) and (ROOT / name).is_file()
    ]


def main() -> int:
    forbidden = forbidden_words(GLOSSARY.read_text(encoding="utf-8"))
    found = []
    for path in tracked_files():
        is_source = path.suffix in {".py", ".js"}
        text = (ROOT / path).read_text(encoding="utf-8") if is_source else ""
        found += violations(path, text, forbidden)
    for line in found:
        sys.stdout.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
