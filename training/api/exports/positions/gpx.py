"""Positions as waypoints of GPX 1.1, for navigation devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree import ElementTree as ET

from training.api.exports.positions import xml_text
from training.api.exports.positions.descriptions import describe, title
from training.api.exports.positions.outlines import DECIMALS, is_known
from training.programs.positions import Position


def write(positions: Iterable[Position]) -> Iterator[bytes]:
    yield xml_text.DECLARATION
    yield b'<gpx version="1.1" creator="Heimdall" xmlns="http://www.topografix.com/GPX/1/1">\n'
    for number, position in enumerate(positions, 1):
        if is_known(position):
            yield xml_text.encode([_waypoint(position, number)])
    yield b"</gpx>\n"


def _waypoint(position: Position, number: int) -> ET.Element:
    lon = round(position["lon"], DECIMALS)
    if lon == 180:  # the schema has longitudes below 180
        lon = -180.0
    place = {"lat": f"{position['lat']:.{DECIMALS}f}", "lon": f"{lon:.{DECIMALS}f}"}
    waypoint = ET.Element("wpt", place)
    # In the order of the schema.
    xml_text.add_text(waypoint, "name", title(position, number))
    xml_text.add_text(waypoint, "desc", describe(position))
    return waypoint
