"""The command of a program: placeholders `{name}` in its words are replaced by job values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

# Folders of the attempt and of the job, for scripts with an option for their output folder.
RUN_DIRECTORY, JOB_DIRECTORY = "run_directory", "job_directory"
_DIRECTORIES = (RUN_DIRECTORY, JOB_DIRECTORY)
# "{{name}}" stands for "{name}". Other braces, such as those of "${path}" and JSON, are left alone.
_PLACEHOLDER = re.compile(r"\{(\{[A-Za-z_]\w*\})\}|(?<!\$)\{([A-Za-z_]\w*)\}")
# A boolean is a flag: it has no value, and is left out if it is false.
_FLAG = re.compile(r"(-[^=]*)=\{([A-Za-z_]\w*)\}")
# Interpreters, and their options before the word that they execute as code.
_INTERPRETER = re.compile(r"(?:.*/)?(?:(?:ba|da|k|z)?sh|python[0-9.]*)")
_OTHER_INTERPRETER = re.compile(r"(?:.*/)?(?:perl|ruby|node|Rscript)[0-9.]*")
_CODE_OPTION = re.compile(r"-[A-Za-z]*c")
_OTHER_CODE_OPTION = re.compile(r"-[A-Za-z]*[eE]|--eval")
_OPTION_WITH_VALUE = re.compile(r"-[A-Za-z]*[oOWX]")  # -euo pipefail, -W ignore


class MissingValueError(LookupError):
    """A job has no value for a name in the command of its program."""


def placeholders(word: str) -> Iterator[str]:
    """The names in braces."""
    for match in _PLACEHOLDER.finditer(word):
        if match[2]:
            yield match[2]


def fill(words: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Replace the placeholders with values. A value with spaces does not split its word.

    Raises MissingValueError.
    """
    for name in (name for word in words for name in placeholders(word) if name not in values):
        raise MissingValueError(
            f"The program's command uses the parameter {name!r}, which was added after this job "
            "was created and has no default. Clone the job to set it."
        )
    filled = []
    for word in words:
        flag = _FLAG.fullmatch(word)
        if flag and isinstance(values[flag[2]], bool):
            if values[flag[2]]:
                filled.append(flag[1])
        else:
            filled.append(_PLACEHOLDER.sub(lambda match: _text(match, values), word))
    return filled


def problem(words: Sequence[str], names: Collection[str], texts: Collection[str]) -> str:
    """A sentence on what is wrong with a command; `texts` are parameters that take any text."""
    for word in words:
        for name in placeholders(word):
            if name not in _DIRECTORIES and name not in names:
                known = ", ".join([*names, *_DIRECTORIES])
                return (
                    f"{{{name}}} in {word!r} is not a parameter; there are {known}. Write "
                    f"{{{{{name}}}}} for a word in braces."
                )
        if any(word.startswith(f"{{{name}}}") for name in texts):
            return (
                f"{word!r} begins with a text that users choose, which the script could read as an "
                f"option; write it behind one, as in '--option={word}'."
            )
    first = next(iter(words), "")
    if any(placeholders(first)):
        return f"{first!r} is the executable; it must not contain a parameter."
    for code in _codes(words):
        if name := next((name for name in placeholders(code) if name in texts), ""):
            return (
                f"{code!r} is code, which a text that users choose could change; write the text "
                f"behind it, as in '--option={{{name}}}', and read it there as an argument."
            )
    return ""


def _codes(words: Sequence[str]) -> Iterator[str]:
    """The words that an interpreter executes, as in `sh -c CODE` or `env HOME=/tmp sh -c CODE`."""
    for index, word in enumerate(words):
        if _INTERPRETER.fullmatch(word):
            yield from _code(words[index + 1 :], _CODE_OPTION)
        elif _OTHER_INTERPRETER.fullmatch(word):
            yield from _code(words[index + 1 :], _OTHER_CODE_OPTION)


def _code(words: Sequence[str], code_option: re.Pattern[str]) -> Iterator[str]:
    is_value = False
    for option, word in pairwise(words):
        if not is_value:
            if code_option.fullmatch(option):
                yield word
                return
            if not option.startswith("-"):
                return
        is_value = not is_value and bool(_OPTION_WITH_VALUE.fullmatch(option))


def _text(match: re.Match[str], values: Mapping[str, Any]) -> str:
    if match[1]:
        return match[1]
    value = values[match[2]]
    return str(value).lower() if isinstance(value, bool) else str(value)
