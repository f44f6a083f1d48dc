"""The rule for texts and names, the same for reports and for the server: normalized (NFC), storable
in any database, and visible.

PostgreSQL stores no NUL, UTF-8 and JSON have no lone surrogates, and no page shows a control
character. SQLite would take them all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# Control characters but tab, line feed and carriage return; surrogates; noncharacters.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
# They reorder the text around them, so that it is read as another one.
_BIDIRECTIONAL = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LINE_BREAKS = re.compile("\r\n?|[\u2028\u2029]")
_BREAKS_AND_TABS = re.compile("[\t\n]")
# Characters without a glyph: Default_Ignorable_Code_Point of Unicode, and blanks that are letters
# or symbols by category.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_BLANK_CATEGORIES = ("Z", "C", "M")  # separators, other, and marks that need a character
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class TextError(ValueError):
    """The text is not allowed; the message names the character."""


def count_of(count: int, noun: str) -> str:
    """As in "1 job" and "2,000 jobs"; the plural of `noun` ends in s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def check_characters(text: str) -> None:
    """Raise TextError if some database could not store the text."""
    if text.isprintable():
        return
    if found := _FORBIDDEN.search(text):
        raise TextError(f"contains {_describe(found[0])}, which is not allowed; remove it")


def normalize_text(text: str) -> str:
    """The text in NFC, its lines separated by line feeds; raises TextError."""
    check_characters(text)
    if found := _BIDIRECTIONAL.search(text):
        raise TextError(
            f"contains {_describe(found[0])}, which changes the order of the text around it; "
            "remove it"
        )
    return unicodedata.normalize("NFC", _LINE_BREAKS.sub("\n", text))


def normalize_name(text: str) -> str:
    """As `normalize_text`, but one visible line without white space at its ends.

    An empty name stays empty.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    text = normalize_text(text).strip()
    if found := _BREAKS_AND_TABS.search(text):
        raise TextError(f"contains {_describe(found[0])}; a name is one line")
    if text and not _is_visible(text):
        raise TextError(
            "consists of invisible characters; use at least one letter, digit or symbol"
        )
    return text


def clean_text(text: str) -> str:
    """The text with U+FFFD in place of each character that some database could not store."""
    return _FORBIDDEN.sub(_REPLACEMENT, text)


def clean_notes(text: str) -> str:
    """A text that `normalize_text` accepts."""
    return _BIDIRECTIONAL.sub(_REPLACEMENT, clean_text(text))


def clean_name(text: str) -> str:
    """A name that `normalize_name` accepts; empty if nothing of it can be seen."""
    text = _BIDIRECTIONAL.sub(_REPLACEMENT, clean_text(text))
    text = _BREAKS_AND_TABS.sub(" ", _LINE_BREAKS.sub("\n", text))
    text = unicodedata.normalize("NFC", text).strip()
    return text if _is_visible(text) else ""


def clean_values(value: Any) -> Any:
    """A JSON value whose texts and keys are clean."""
    match value:
        case str():
            return clean_text(value)
        case Mapping():
            return {clean_values(name): clean_values(one) for name, one in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [clean_values(one) for one in value]
    return value


def _is_visible(text: str) -> bool:
    return any(
        unicodedata.category(character)[0] not in _BLANK_CATEGORIES
        for character in _INVISIBLE.sub("", text)
    )


def _describe(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if name := unicodedata.name(character, ""):
        return f"{code} ({name.lower()})"
    kinds = {"Cc": "control character", "Cs": "lone surrogate"}
    return f"the {kinds.get(unicodedata.category(character), 'noncharacter')} {code}"
