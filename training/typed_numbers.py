"""Numbers as people type them, with a decimal comma too, and only in the sense they meant."""

from __future__ import annotations

import re

_COMMA = re.compile(r"([+-]?)(\d*),(\d+)((?:[eE][+-]?\d+)?)")
MINUS = "\N{MINUS SIGN}"


class NumberFormatError(ValueError):
    """The text could mean two numbers, or is written with separators of thousands."""


def require_plain_digits(text: str) -> None:
    """Raise NumberFormatError for what only Python reads as a number: 1_0, or digits of others."""
    if "_" in text or not text.isascii():
        try:
            float(text)
        except ValueError:
            return
        raise NumberFormatError(f"{text!r} is not a number; write it with the digits 0 to 9.")


def normalize_number(text: str) -> str:
    """The text with a decimal point; `numbers.js` does the same. Raises NumberFormatError.

    A text that is no number at all comes back as it is.
    """
    text = text.strip().replace(MINUS, "-")
    require_plain_digits(text)
    if "," not in text:
        return text
    found = _COMMA.fullmatch(text)
    if not found:
        if re.fullmatch(r"[+-]?[\d.,]+", text):
            raise NumberFormatError(
                f"{text!r} is not a number; write it without separators between thousands."
            )
        return text
    sign, whole, decimals, exponent = found.groups()
    if len(decimals) == 3 and whole.strip("0") and len(whole) <= 3 and not exponent:
        raise NumberFormatError(
            f"{text!r} can mean {sign}{whole}.{decimals} or {sign}{whole}{decimals}; "
            "write one of these."
        )
    return f"{sign}{whole or '0'}.{decimals}{exponent}"
