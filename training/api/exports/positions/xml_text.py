"""Elements of XML files as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
# XML 1.0 has no way to write them.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def add_text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = clean_text(text)


def clean_text(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def encode(elements: Iterable[ET.Element]) -> bytes:
    """Elements of a document whose root, with the namespace, is written around them."""
    return b"".join(ET.tostring(element, encoding="utf-8", xml_declaration=False) + b"\n"
                    for element in elements)  # fmt: skip
