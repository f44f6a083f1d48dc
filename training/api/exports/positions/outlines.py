"""Outlines of confidence ellipses in degrees."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.programs.positions import Ellipse, Position

Point = tuple[float, float]  # longitude and latitude, as in GeoJSON and KML
CORNERS = 48
DECIMALS = 7  # a centimeter
_WGS84_A, _WGS84_E2 = 6_378_137.0, 6.694_379_990_14e-3


def is_known(position: Position) -> bool:
    """Whether the position is on the globe; JSON has null for one that is not."""
    return position["lat"] is not None and position["lon"] is not None


def outline(position: Position, ellipse: Ellipse) -> list[list[Point]]:
    """Closed counterclockwise rings: two where the ellipse crosses the 180th meridian, else one."""
    ring = _ring(position["lat"], position["lon"], ellipse)
    west, east = min(lon for lon, _ in ring), max(lon for lon, _ in ring)
    if west < -180:
        parts = [_clip(ring, -180, keep_east=True), _clip(ring, -180, keep_east=False)]
        rings = [parts[0], [(lon + 360, lat) for lon, lat in parts[1]]]
    elif east > 180:
        parts = [_clip(ring, 180, keep_east=False), _clip(ring, 180, keep_east=True)]
        rings = [parts[0], [(lon - 360, lat) for lon, lat in parts[1]]]
    else:
        rings = [ring]
    return [
        [(round(lon, DECIMALS), round(lat, DECIMALS)) for lon, lat in (*part, part[0])]
        for part in rings
    ]


def _ring(lat: float, lon: float, ellipse: Ellipse) -> list[Point]:
    """On the ellipsoid's tangent plane; longitudes may be beyond 180 degrees."""
    sine = math.sin(math.radians(lat))
    normal = _WGS84_A / math.sqrt(1 - _WGS84_E2 * sine**2)
    north_radius = normal * (1 - _WGS84_E2) / (1 - _WGS84_E2 * sine**2)
    # Next to a pole every longitude is near: the outline becomes a band around it.
    east_radius = max(normal * math.cos(math.radians(lat)), 1.0)
    major, minor = ellipse["semi_major_m"], ellipse["semi_minor_m"]
    azimuth = math.radians(ellipse["azimuth_deg"])
    ring = []
    for corner in range(CORNERS):
        angle = -2 * math.pi * corner / CORNERS  # azimuths grow clockwise
        along, across = major * math.cos(angle), minor * math.sin(angle)
        north = along * math.cos(azimuth) - across * math.sin(azimuth)
        east = along * math.sin(azimuth) + across * math.cos(azimuth)
        turn = min(max(math.degrees(east / east_radius), -180.0), 180.0)
        tilt = math.degrees(north / north_radius)
        ring.append((lon + turn, min(max(lat + tilt, -90.0), 90.0)))
    return ring


def _clip(ring: Sequence[Point], meridian: float, *, keep_east: bool) -> list[Point]:
    """The part of a convex ring on one side of a meridian (Sutherland and Hodgman)."""
    kept: list[Point] = []
    for start, end in zip(ring, (*ring[1:], ring[0]), strict=True):
        start_inside = (start[0] >= meridian) == keep_east
        end_inside = (end[0] >= meridian) == keep_east
        if start_inside:
            kept.append(start)
        if start_inside != end_inside:
            share = (meridian - start[0]) / (end[0] - start[0])
            kept.append((meridian, start[1] + share * (end[1] - start[1])))
    return kept
