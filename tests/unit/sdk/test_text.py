from __future__ import annotations

import unicodedata

import pytest

from heimdall_sdk.text import (
    TextError,
    clean_name,
    clean_text,
    clean_values,
    normalize_name,
    normalize_text,
)

FORBIDDEN = ["\0", "\x1b", "\x7f", "\x85", "\ud800", "\udfff", "\ufffe", "\uffff"]
BIDIRECTIONAL = ["\u202a", "\u202e", "\u2066", "\u2069"]
INVISIBLE = [
    "\u200b", "\u200b\u200d", "\ufeff", "\u00ad", "\u3164", "\u2800", "\u115f", "\U000e0041",
    "\u034f", "\u0301", "\u2060 \u200b",
]  # fmt: skip


@pytest.mark.parametrize("character", FORBIDDEN + BIDIRECTIONAL)
@pytest.mark.parametrize("normalize", [normalize_text, normalize_name])
def test_error_for_an_unstorable_or_misleading_character_states_its_code(
    normalize: object, character: str
) -> None:
    with pytest.raises(TextError, match=f"U\\+{ord(character):04X}"):
        normalize(f"a{character}b")  # type: ignore[operator]


@pytest.mark.parametrize("name", INVISIBLE, ids=ascii)
def test_invisible_name_is_an_error(name: str) -> None:
    with pytest.raises(TextError, match="invisible"):
        normalize_name(name)


@pytest.mark.parametrize(
    "name", ["a", "ü", "W\u030a", "😀", "👩\u200d🔬", "名前", "❤\ufe0f", "שלום", "-", "مرحبا"]
)
def test_visible_name_is_normalized_to_nfc(name: str) -> None:
    assert normalize_name(f" {name}\n ") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\r\nb", "a\u2028b"])
def test_name_of_several_lines_is_an_error(name: str) -> None:
    with pytest.raises(TextError, match="a name is one line"):
        normalize_name(name)


def test_empty_name_stays_empty() -> None:
    assert normalize_name("") == normalize_name("  ") == ""


def test_lines_of_a_text_are_separated_by_line_feeds() -> None:
    assert normalize_text("a\r\nb\rc\u2028d\n\te") == "a\nb\nc\nd\n\te"


@pytest.mark.parametrize("text", [*FORBIDDEN, *BIDIRECTIONAL, *INVISIBLE, "a\nb", " a\x1b[31m "])
def test_cleaned_name_passes_validation(text: str) -> None:
    assert normalize_name(clean_name(text)) == clean_name(text)


def test_cleaning_replaces_only_unstorable_characters() -> None:
    assert clean_text("a\0b\x1b[31m\n") == "a\ufffdb\ufffd[31m\n"
    assert clean_values({"a\0": ["b\ud800", 1, None]}) == {"a\ufffd": ["b\ufffd", 1, None]}
