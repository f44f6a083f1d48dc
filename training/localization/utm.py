"""UTM coordinates (WGS-84): a zone, and meters east and north."""

from __future__ import annotations

import math
import re

ZONE = re.compile(r"(0?[1-9]|[1-5][0-9]|60) ?([A-HJ-NP-Za-hj-np-z])")
EASTING, NORTHING = (100_000.0, 1_000_000.0), (0.0, 10_000_000.0)
_A, _F = 6_378_137.0, 1 / 298.257223563
_SCALE, _FALSE_EASTING, _FALSE_NORTHING = 0.9996, 500_000.0, 10_000_000.0
_N = _F / (2 - _F)
_RADIUS = _A / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
# Series of Krüger up to the fourth order, which are exact to a micrometer (Karney 2011,
# https://doi.org/10.1007/s00190-011-0445-3, equations 36 and, for latitudes, Krüger's own).
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161280,
)
_DELTA = (
    2 * _N - 2 * _N**2 / 3 - 2 * _N**3 + 116 * _N**4 / 45,
    7 * _N**2 / 3 - 8 * _N**3 / 5 - 227 * _N**4 / 45,
    56 * _N**3 / 15 - 136 * _N**4 / 35,
    4279 * _N**4 / 630,
)


def parse_zone(text: str) -> tuple[int, bool]:
    """Number of the zone, and whether it is north of the equator; ValueError if it is no zone.

    N and S are hemispheres. Any other letter is the band of latitude of MGRS, as in 32T.
    """
    match = ZONE.fullmatch(text.strip())
    letter = match[2].upper() if match else ""
    if match is None or letter in "ABYZ":
        raise ValueError(f"{text[:20]!r} is not a UTM zone, such as 32N")
    return int(match[1]), letter == "N" or (letter != "S" and letter > "N")


def utm_to_geodetic(
    easting: float, northing: float, zone: int, is_north: bool
) -> tuple[float, float]:
    """Latitude and longitude in degrees; ValueError if they are not in the range of UTM."""
    for name, value, (low, high) in (
        ("easting", easting, EASTING),
        ("northing", northing, NORTHING),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} {value:g} is not between {low:,.0f} and {high:,.0f} m")
    north = northing if is_north else northing - _FALSE_NORTHING
    xi, eta = north / (_SCALE * _RADIUS), (easting - _FALSE_EASTING) / (_SCALE * _RADIUS)
    terms = list(enumerate(_BETA, 1))
    xi, eta = (
        xi - sum(beta * math.sin(2 * j * xi) * math.cosh(2 * j * eta) for j, beta in terms),
        eta - sum(beta * math.cos(2 * j * xi) * math.sinh(2 * j * eta) for j, beta in terms),
    )
    conformal = math.asin(math.sin(xi) / math.cosh(eta))
    lat = conformal + sum(d * math.sin(2 * j * conformal) for j, d in enumerate(_DELTA, 1))
    lon = math.radians(6 * zone - 183) + math.atan2(math.sinh(eta), math.cos(xi))
    return math.degrees(lat), (math.degrees(lon) + 180) % 360 - 180
