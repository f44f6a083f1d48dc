"""Maidenhead locators (IARU Region 1, 1980): squares of latitude and longitude, such as JN45ab."""

from __future__ import annotations

import math
import re

LOCATOR = re.compile(r"[A-R]{2}(?:[0-9]{2}(?:[A-X]{2}(?:[0-9]{2}(?:[A-X]{2})?)?)?)?", re.IGNORECASE)
METERS_PER_DEGREE = 111_195.0  # of latitude
# How many squares each pair of characters divides the square before into, along a side.
_DIVISIONS = (18, 10, 24, 10, 24)
_FIRST_LETTERS = "A0a0a"
MIN_PAIRS = 3


def parse_locator(text: str) -> tuple[float, float]:
    """Latitude and longitude of the center of the square; ValueError if it is no locator."""
    if not LOCATOR.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is not a Maidenhead locator, such as JN45ab")
    lat = lon = 0.0
    height = 180.0  # degrees of latitude; a square is twice as many degrees of longitude wide
    digits = [int(one) if one.isdigit() else ord(one.upper()) - ord("A") for one in text]
    for division, east, north in zip(_DIVISIONS, digits[::2], digits[1::2], strict=False):
        height /= division
        lat, lon = lat + north * height, lon + 2 * east * height
    return lat - 90 + height / 2, lon - 180 + height


def format_locator(lat: float, lon: float, extent_m: float) -> str:
    """The locator of the smallest square whose height is at least `extent_m`.

    It has 6, 8 or 10 characters: more would claim to know the position better than it is. Empty
    for a position that is not on the globe.
    """
    if not (math.isfinite(lat) and math.isfinite(lon)):
        return ""
    north, east = min(max(lat + 90, 0.0), 180.0) / 180, (lon + 180) % 360 / 360
    locator, height = "", 180.0
    for pair, (division, first) in enumerate(zip(_DIVISIONS, _FIRST_LETTERS, strict=True)):
        height /= division
        if pair >= MIN_PAIRS and height * METERS_PER_DEGREE < extent_m:
            break
        north, east = north * division, east * division
        # A place at the upper edge of the world is in the last square.
        row, column = min(int(north), division - 1), min(int(east), division - 1)
        north, east = north - row, east - column
        locator += chr(ord(first) + column) + chr(ord(first) + row)
    return locator
