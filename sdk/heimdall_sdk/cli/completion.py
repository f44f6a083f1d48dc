"""Tab completion: a script for the shell, which asks the hidden command `__complete`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli import parameters
from heimdall_sdk.cli.parser import Parser
from heimdall_sdk.cli.server import connect

BASH = """\
_heimdall() {
    local IFS=$'\\n' words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    local current="${COMP_WORDS[COMP_CWORD]}"
    # bash splits words at "=" as well: put NAME = VALUE together again.
    if [[ $COMP_CWORD -gt 2 && ${COMP_WORDS[COMP_CWORD-1]} == "=" ]]; then
        words=("${COMP_WORDS[@]:1:COMP_CWORD-3}" "${COMP_WORDS[COMP_CWORD-2]}=$current")
    elif [[ $COMP_CWORD -gt 1 && $current == "=" ]]; then
        words=("${COMP_WORDS[@]:1:COMP_CWORD-2}" "${COMP_WORDS[COMP_CWORD-1]}=")
    fi
    COMPREPLY=($(heimdall __complete -- "${words[@]}" 2>/dev/null | cut -f1))
    if [[ ${words[-1]} == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#*=}")
    elif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -o default -F _heimdall heimdall
"""
ZSH = """\
#compdef heimdall
_heimdall() {
    local -a lines candidates descriptions
    local line
    lines=("${(@f)$(heimdall __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        candidates+=("${line%%$'\\t'*}")
        descriptions+=("${line//$'\\t'/  }")
    done
    if (( ! ${#candidates} )); then
        _files
    elif [[ ${candidates[1]} == *= ]]; then
        compadd -S '' -d descriptions -a candidates
    else
        compadd -d descriptions -a candidates
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _heimdall "$@"
else
    compdef _heimdall heimdall
fi
"""
JOBS = 100
STATUSES = ("queued", "running", "paused", "completed", "failed", "cancelled")

Candidates = Iterable[tuple[str, str]]


def completion(arguments: argparse.Namespace) -> int:
    print(BASH if arguments.shell == "bash" else ZSH, end="")
    return 0


def complete(parser: Parser, words: Sequence[str]) -> int:
    """Print what the last of the words can be, with a description after a tab."""
    *before, current = words or [""]
    try:
        found = list(_candidates(parser, before, current))
    except Exception:
        found = []  # the shell falls back to files
    for candidate, description in found:
        if candidate.startswith(current):
            print(f"{candidate}\t{description}" if description else candidate)
    return 0


def _candidates(parser: Parser, before: list[str], current: str) -> Candidates:
    commands = parser.commands
    command = next((word for word in before if word in commands), None)
    if command is None:
        if current.startswith("-"):
            return _options(parser)
        return [(name, "") for name in commands]
    chosen = commands[command]
    action = chosen.option_with_value(before[-1])
    if action is not None:
        return _values(action, command, before, current)
    if current.startswith("-"):
        return _options(chosen)
    given = _count_positional(chosen, before[before.index(command) + 1 :])
    positional = chosen.positional
    if not positional or (given >= len(positional) and positional[-1].nargs != "+"):
        return []
    return _values(positional[min(given, len(positional) - 1)], command, before, current)


def _values(action: argparse.Action, command: str, before: list[str], current: str) -> Candidates:
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices]
    if action.dest == "parameters":
        return _parameters(before[before.index(command) + 1 :], current)
    source: Callable[[], Candidates] | None = {
        "id": _job_ids, "ids": _job_ids, "init_from": _job_ids, "program": _programs,
        "project": _projects, "dataset": _datasets,
    }.get(action.dest)  # fmt: skip
    if action.dest == "status":
        return [(status, "") for status in STATUSES]
    return source() if source else []


def _rows(path: str) -> list[JsonDict]:
    with connect() as server:
        return server.rows(path, {}, JOBS)


def _job_ids() -> Candidates:
    for job in _rows("/jobs"):
        yield job["id"][:8], f"{job['name'] or job['program']}, {job['status']}"


def _installed_programs() -> list[JsonDict]:
    with connect() as server:
        return list(server.get("/programs")["results"])


def _programs() -> Candidates:
    for program in _installed_programs():
        yield program["name"], program["title"]


def _projects() -> Candidates:
    for project in _rows("/projects"):
        yield project["name"], ""


def _datasets() -> Candidates:
    for dataset in _rows("/datasets"):
        yield dataset["id"], dataset["name"]


def _parameters(words: list[str], current: str) -> Candidates:
    """Names of the program's parameters, or the values of an enum."""
    programs = {program["name"]: program for program in _installed_programs()}
    schema: JsonDict = next(
        (programs[word]["parameters"] for word in words if word in programs), {}
    )
    name, separator, _ = current.partition("=")
    if separator:
        return [(f"{name}={value}", "") for value in parameters.choices(schema, name)]
    return [
        (f"{one}=", str(field.get("title") or ""))
        for one, field in schema.get("properties", {}).items()
    ]


def _options(parser: Parser) -> Candidates:
    for action in parser.actions:
        for option in action.option_strings:
            if option.startswith("--"):
                yield option, action.help or ""


def _count_positional(parser: Parser, words: list[str]) -> int:
    count, skip = 0, False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = parser.option_with_value(word) is not None
        else:
            count += 1
    return count
