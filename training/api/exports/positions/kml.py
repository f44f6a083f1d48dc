"""Positions as KML 2.2: a folder for each, with its point and its ellipses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from xml.etree import ElementTree as ET

from training.api.exports.positions import xml_text
from training.api.exports.positions.descriptions import describe, title
from training.api.exports.positions.outlines import DECIMALS, Point, is_known, outline
from training.programs.positions import Position

# Colors are alpha, blue, green, red.
_STYLES = b"""<Style id="ellipse_68"><LineStyle><color>ffcf562b</color><width>2</width></LineStyle>\
<PolyStyle><color>33cf562b</color></PolyStyle></Style>
<Style id="ellipse_95"><LineStyle><color>99cf562b</color><width>1</width></LineStyle>\
<PolyStyle><color>1acf562b</color></PolyStyle></Style>
"""


def write(positions: Iterable[Position]) -> Iterator[bytes]:
    yield xml_text.DECLARATION
    yield b'<kml xmlns="http://www.opengis.net/kml/2.2">\n<Document>\n<name>Positions</name>\n'
    yield _STYLES
    for number, position in enumerate(positions, 1):
        if is_known(position):
            yield xml_text.encode([_folder(position, number)])
    yield b"</Document>\n</kml>\n"


def _folder(position: Position, number: int) -> ET.Element:
    folder = ET.Element("Folder")
    xml_text.add_text(folder, "name", title(position, number))
    point = ET.SubElement(folder, "Placemark")
    xml_text.add_text(point, "name", title(position, number))
    # A description is HTML, which Google Earth shows with its pictures and links.
    xml_text.add_text(point, "description", escape(describe(position)))
    data = ET.SubElement(point, "ExtendedData")
    for name, value in (
        ("sample_id", position["sample_id"]),
        ("locator", position["locator"]),
        ("receivers", "; ".join(position["receivers"])),
    ):
        xml_text.add_text(ET.SubElement(data, "Data", name=name), "value", value)
    place = _coordinates([(position["lon"], position["lat"])])
    xml_text.add_text(ET.SubElement(point, "Point"), "coordinates", place)
    for share, ellipse in ((68, position["ellipse_68"]), (95, position["ellipse_95"])):
        _add_ellipse(folder, share, outline(position, ellipse))
    return folder


def _add_ellipse(folder: ET.Element, share: int, rings: Sequence[Sequence[Point]]) -> None:
    placemark = ET.SubElement(folder, "Placemark")
    xml_text.add_text(placemark, "name", f"{share} % ellipse")
    xml_text.add_text(placemark, "styleUrl", f"#ellipse_{share}")
    parent = placemark if len(rings) == 1 else ET.SubElement(placemark, "MultiGeometry")
    for ring in rings:
        boundary = ET.SubElement(ET.SubElement(parent, "Polygon"), "outerBoundaryIs")
        corners = _coordinates(ring)
        xml_text.add_text(ET.SubElement(boundary, "LinearRing"), "coordinates", corners)


def _coordinates(points: Sequence[Point]) -> str:
    return " ".join(f"{lon:.{DECIMALS}f},{lat:.{DECIMALS}f}" for lon, lat in points)
