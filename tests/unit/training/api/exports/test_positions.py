"""Files of positions, read by the parsers of their formats."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from training.api.exports.positions import FORMATS
from training.api.exports.positions.outlines import outline
from training.programs.positions import Ellipse, Position

GPX = "{http://www.topografix.com/GPX/1/1}"
KML = "{http://www.opengis.net/kml/2.2}"
NAME = '=2+3 <b> & "ü" \x0b'


def ellipse(major: float, minor: float, azimuth: float = 30.0) -> Ellipse:
    return {"semi_major_m": major, "semi_minor_m": minor, "azimuth_deg": azimuth}


def position(name: str = "one", lat: float = 45.0, lon: float = 7.5, **more: Any) -> Position:
    found: Position = {
        "sample_id": name,
        "lat": lat,
        "lon": lon,
        "covariance_m2": [[1.0, 0.0], [0.0, 1.0]],
        "ellipse_68": ellipse(500.0, 200.0),
        "ellipse_95": ellipse(1000.0, 400.0),
        "locator": "JN35sa",
        "receivers": ["hill", "tower"],
    }
    return {**found, **more}  # type: ignore[typeddict-item]


def parse(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  (made by the code under test)


def encode(name: str, *positions: Position) -> str:
    return b"".join(FORMATS[name].write(positions)).decode()


def signed_area(ring: list[list[float]]) -> float:
    return sum((b[0] - a[0]) * (b[1] + a[1]) for a, b in itertools.pairwise(ring)) / -2


def test_csv_has_a_row_for_each_position_and_no_formula() -> None:
    named = position(NAME[:8], receivers=["@hill", "tower"])
    rows = list(csv.DictReader(io.StringIO(encode("csv", position(), named))))
    assert [row["sample_id"] for row in rows] == ["one", "'=2+3 <b>"]
    assert (float(rows[0]["lat"]), float(rows[0]["lon"])) == (45.0, 7.5)
    assert rows[0]["ellipse_68_semi_major_m"] == "500.0"
    assert rows[0]["ellipse_95_azimuth_deg"] == "30.0"
    assert rows[0]["receivers"] == "hill; tower"
    assert rows[1]["receivers"] == "'@hill; tower"


def test_local_coordinates_are_in_tables_and_geojson() -> None:
    local = position(x_m=12.3456, y_m=-3.0)
    (row,) = csv.DictReader(io.StringIO(encode("csv", local)))
    assert (row["receivers"], row["x_m"], row["y_m"]) == ("hill; tower", "12.346", "-3.0")
    (point, *_) = json.loads(encode("geojson", local))["features"]
    assert (point["properties"]["x_m"], point["properties"]["y_m"]) == (12.3456, -3.0)
    assert "x_m" not in encode("csv", position()) + encode("geojson", position())


def test_geojson_has_a_point_and_two_polygons_for_each_position() -> None:
    found = json.loads(encode("geojson", position(NAME), position("two")))
    assert found["type"] == "FeatureCollection"
    point, inner, outer = found["features"][:3]
    assert len(found["features"]) == 6
    assert point["geometry"] == {"type": "Point", "coordinates": [7.5, 45.0]}
    assert point["properties"]["sample_id"] == NAME
    assert point["properties"]["receivers"] == ["hill", "tower"]
    for polygon in (inner, outer):
        assert polygon["geometry"]["type"] == "Polygon"
        (ring,) = polygon["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert signed_area(ring) > 0  # counterclockwise (RFC 7946, 3.1.6)
    assert inner["properties"]["semi_major_m"] == 500.0


def test_outline_has_the_axes_of_the_ellipse() -> None:
    (ring,) = outline(position(), ellipse(1000.0, 400.0, azimuth=90.0))
    meters = [
        (math.radians(lon - 7.5) * math.cos(math.radians(45)) * 6_388_838,
         math.radians(lat - 45.0) * 6_367_382)
        for lon, lat in ring
    ]  # fmt: skip
    assert max(east for east, _ in meters) == pytest.approx(1000.0, rel=1e-3)
    assert max(north for _, north in meters) == pytest.approx(400.0, rel=1e-3)


@pytest.mark.parametrize("lon", [179.999, -179.999])
def test_ellipse_across_the_180th_meridian_is_cut_in_two(lon: float) -> None:
    found = json.loads(encode("geojson", position(lat=-17.0, lon=lon)))
    geometry = found["features"][1]["geometry"]
    assert geometry["type"] == "MultiPolygon"
    rings = [polygon[0] for polygon in geometry["coordinates"]]
    assert len(rings) == 2
    for ring in rings:
        assert ring[0] == ring[-1]
        assert signed_area(ring) > 0
        assert max(x for x, _ in ring) - min(x for x, _ in ring) < 0.02
        assert all(-180 <= x <= 180 for x, _ in ring)


def test_gpx_has_a_waypoint_for_each_position() -> None:
    root = parse(encode("gpx", position(NAME), position("")))
    assert (root.tag, root.get("version")) == (f"{GPX}gpx", "1.1")
    first, second = root.findall(f"{GPX}wpt")
    assert (float(first.attrib["lat"]), float(first.attrib["lon"])) == (45.0, 7.5)
    assert first.findtext(f"{GPX}name") == NAME.replace("\x0b", "\N{REPLACEMENT CHARACTER}")
    assert second.findtext(f"{GPX}name") == "Position 2"
    assert [child.tag for child in first] == [f"{GPX}name", f"{GPX}desc"]  # the schema's order
    assert "Locator JN35sa. 68 % ellipse 1,000 × 400 m" in str(first.findtext(f"{GPX}desc"))


@pytest.mark.parametrize("lon", [180.0, 179.99999999])
def test_longitude_of_gpx_is_below_180(lon: float) -> None:
    (waypoint,) = parse(encode("gpx", position(lon=lon))).findall(f"{GPX}wpt")
    assert waypoint.attrib["lon"] == "-180.0000000"


def test_kml_has_a_point_and_two_polygons_for_each_position() -> None:
    root = parse(encode("kml", position(NAME), position("two", lat=0.0, lon=180.0)))
    first, second = root.findall(f"{KML}Document/{KML}Folder")
    assert first.findtext(f"{KML}name") == NAME.replace("\x0b", "\N{REPLACEMENT CHARACTER}")
    point, *areas = first.findall(f"{KML}Placemark")
    assert point.findtext(f"{KML}Point/{KML}coordinates") == "7.5000000,45.0000000"
    assert [area.findtext(f"{KML}styleUrl") for area in areas] == ["#ellipse_68", "#ellipse_95"]
    styles = {style.get("id") for style in root.iter(f"{KML}Style")}
    assert styles == {"ellipse_68", "ellipse_95"}
    ring = areas[0].find(f"{KML}Polygon/{KML}outerBoundaryIs/{KML}LinearRing/{KML}coordinates")
    corners = str(ring.text if ring is not None else "").split()
    assert len(corners) > 30
    assert corners[0] == corners[-1]
    assert len(second.findall(f".//{KML}MultiGeometry")) == 2


def test_names_are_no_html_in_the_description_of_kml() -> None:
    root = parse(encode("kml", position(receivers=["<img src=//example.org>", "tower"])))
    description = str(next(root.iter(f"{KML}description")).text)
    assert "Heard by &lt;img src=//example.org&gt;, tower." in description
    assert "68 % ellipse 1,000 × 400 m" in description


@pytest.mark.parametrize("name", FORMATS)
def test_position_off_the_globe_has_no_coordinates_in_any_format(name: str) -> None:
    beside: Any = position("beside", lat=None, lon=None, locator="")  # type: ignore[arg-type]
    text = encode(name, beside, position("near"))
    assert "near" in text
    assert "None" not in text and "nan" not in text.lower()


@pytest.mark.parametrize("name", FORMATS)
def test_file_without_positions_is_valid(name: str) -> None:
    text = encode(name)
    if name == "geojson":
        assert json.loads(text)["features"] == []
    elif name == "csv":
        assert len(text.splitlines()) == 1
    else:
        assert len(list(parse(text).iter())) >= 1
