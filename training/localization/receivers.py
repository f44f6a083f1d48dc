"""Receivers for synthetic datasets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from pydantic import BaseModel, ConfigDict, Field


class ReceiverSpec(BaseModel):
    """A fixed receiver, in degrees on WGS-84 and meters above sea level."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100, title="Name", description="Must be unique.")
    lat: float = Field(ge=-90, le=90, title="Latitude", description="Degrees north, WGS-84.")
    lon: float = Field(ge=-180, le=180, title="Longitude", description="Degrees east, WGS-84.")
    alt_m: float = Field(
        0.0,
        ge=-500,
        le=9000,
        title="Altitude",
        description="Meters above sea level. Transmitters are at 0.",
    )


# Stations in north-western Italy, for amateur radio signals at 145 MHz.
ITALY = tuple(
    ReceiverSpec(name=name, lat=lat, lon=lon, alt_m=alt)
    for name, lat, lon, alt in (
        ("Aquila di Giaveno", 45.03, 7.27, 600),
        ("Montanaro", 45.234, 7.857, 300),
        ("Torino", 45.044, 7.672, 250),
        ("Coazze", 45.048, 7.238, 700),
        ("Passo dei Giovi", 44.561, 8.956, 480),
        ("Genova", 44.395, 8.956, 100),
        ("Milano-Baggio", 45.478, 9.123, 120),
    )
)

# Positions are computed on a plane, which distorts lengths by less than 0.1 % within this extent.
_MAX_EXTENT_KM = 600.0
_EARTH_RADIUS_KM = 6371.0


def check_receivers(receivers: Sequence[ReceiverSpec]) -> None:
    """Raise ValueError if a name repeats, or if two receivers are too far apart for one plane."""
    for name, count in Counter(receiver.name for receiver in receivers).items():
        if count > 1:
            raise ValueError(f"the name {name!r} is used {count} times; make it unique")
    for a, b in combinations(receivers, 2):
        distance = _chord_km(a, b)
        if distance > _MAX_EXTENT_KM:
            raise ValueError(
                f"{a.name!r} and {b.name!r} are {distance:,.0f} km apart; the limit is "
                f"{_MAX_EXTENT_KM:.0f} km. Are latitude and longitude swapped?"
            )


def _chord_km(a: ReceiverSpec, b: ReceiverSpec) -> float:
    # Straight-line distance through a spherical earth: accurate enough for a limit.

    def unit_vector(spec: ReceiverSpec) -> tuple[float, float, float]:
        lat, lon = math.radians(spec.lat), math.radians(spec.lon)
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    return _EARTH_RADIUS_KM * math.dist(unit_vector(a), unit_vector(b))
