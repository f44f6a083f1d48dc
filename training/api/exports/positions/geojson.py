"""Positions as GeoJSON (RFC 7946): a point and the polygons of both ellipses for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson
from pydantic import JsonValue

from training.api.exports.positions.outlines import DECIMALS, is_known, outline
from training.programs.positions import Ellipse, Position


def write(positions: Iterable[Position]) -> Iterator[bytes]:
    yield b'{"type":"FeatureCollection","features":['
    separator = b"\n"
    for position in positions:
        yield separator + b",\n".join(map(orjson.dumps, _features(position)))
        separator = b",\n"
    yield b"\n]}\n"


def _features(position: Position) -> Iterator[dict[str, JsonValue]]:
    point: JsonValue = None  # a feature without a place (RFC 7946, 3.2)
    if is_known(position):
        place: list[JsonValue] = [round(position[name], DECIMALS) for name in ("lon", "lat")]
        point = {"type": "Point", "coordinates": place}
    yield _feature(
        point,
        {
            "sample_id": position["sample_id"],
            "kind": "position",
            "locator": position["locator"],
            "receivers": list(position["receivers"]),
            **({"x_m": position["x_m"], "y_m": position["y_m"]} if "x_m" in position else {}),
        },
    )
    if point is None:
        return
    for share, ellipse in ((68, position["ellipse_68"]), (95, position["ellipse_95"])):
        yield _feature(
            _area(position, ellipse),
            {
                "sample_id": position["sample_id"],
                "kind": f"ellipse_{share}",
                "semi_major_m": ellipse["semi_major_m"],
                "semi_minor_m": ellipse["semi_minor_m"],
                "azimuth_deg": ellipse["azimuth_deg"],
            },
        )


def _feature(geometry: JsonValue, properties: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _area(position: Position, ellipse: Ellipse) -> JsonValue:
    rings: list[JsonValue] = [
        [list(corner) for corner in ring] for ring in outline(position, ellipse)
    ]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
