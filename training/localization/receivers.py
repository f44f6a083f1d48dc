"""Fixed receivers to make data for, and those of the default."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from pydantic import BaseModel, ConfigDict, Field


class ReceiverSpec(BaseModel):
    """A fixed receiver; degrees on WGS-84, metres above the sea."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100, title="Name", description="Its own name.")
    lat: float = Field(ge=-90, le=90, title="Latitude", description="Degrees north, WGS-84.")
    lon: float = Field(ge=-180, le=180, title="Longitude", description="Degrees east, WGS-84.")
    alt_m: float = Field(
        0.0,
        ge=-500,
        le=9000,
        title="Altitude",
        description="Metres above the sea; transmitters stand at 0.",
    )


# Stations of north-western Italy, for amateur signals at 145 MHz.
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

# The plane on which positions are computed is true to a thousandth within this.
_FARTHEST_KM = 600.0


def check_receivers(receivers: Sequence[ReceiverSpec]) -> None:
    """Each has its own name, and all fit one plane; ValueError says which do not."""
    names = [receiver.name for receiver in receivers]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"receivers: {name!r} is there twice; each needs its own name")
    for one, other in combinations(receivers, 2):
        apart = _chord_km(one, other)
        if apart > _FARTHEST_KM:
            raise ValueError(
                f"receivers: {one.name!r} and {other.name!r} are {apart:,.0f} km apart; at "
                f"most {_FARTHEST_KM:.0f} is possible. Are latitude and longitude swapped?"
            )


def _chord_km(one: ReceiverSpec, other: ReceiverSpec) -> float:
    """Straight through a round earth: near enough for a limit, and without trigonometric care."""

    def place(spec: ReceiverSpec) -> tuple[float, float, float]:
        lat, lon = math.radians(spec.lat), math.radians(spec.lon)
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    return 6371.0 * math.dist(place(one), place(other))
