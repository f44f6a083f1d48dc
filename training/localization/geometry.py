"""Local plane coordinates: meters east and north of an origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]

SPEED_OF_LIGHT = 299_792_458.0  # m/s
_WGS84_A = 6_378_137.0  # m, semi-major axis
_WGS84_E2 = 6.694_379_990_14e-3  # first eccentricity squared


def _geodetic_to_ecef(lat: ArrayLike, lon: ArrayLike) -> Floats:
    """Degrees on the WGS-84 ellipsoid to earth-centered coordinates [..., 3] in meters."""
    phi, lam = np.radians(np.asarray(lat, float)), np.radians(np.asarray(lon, float))
    normal = _WGS84_A / np.sqrt(1.0 - _WGS84_E2 * np.sin(phi) ** 2)
    return np.stack(
        [
            normal * np.cos(phi) * np.cos(lam),
            normal * np.cos(phi) * np.sin(lam),
            normal * (1.0 - _WGS84_E2) * np.sin(phi),
        ],
        axis=-1,
    )


@dataclass(frozen=True, slots=True)
class LocalFrame:
    """The plane that touches the WGS-84 ellipsoid at `lat0`, `lon0` (degrees).

    Transmitters are assumed to be on it, since their height is unknown. `alt0` is the height of
    that ground in meters above sea level.

    The projection is orthographic (IOGP Guidance Note 7-2, EPSG method 9840): closed-form in both
    directions, at any latitude. At a distance d from the origin, lengths are too short by at most
    (d / 6,370 km)^2 / 2: 1.2e-4 at 100 km, 5e-4 at 200 km. Use it for areas up to about 500 km;
    beyond a quarter of the earth's circumference different points get the same coordinates.
    """

    lat0: float
    lon0: float
    alt0: float = 0.0

    def _enu_axes(self) -> Floats:
        """[3, 3] rows: unit vectors east, north and up at the origin, earth-centered."""
        phi, lam = np.radians(self.lat0), np.radians(self.lon0)
        s, c, sl, cl = np.sin(phi), np.cos(phi), np.sin(lam), np.cos(lam)
        return np.array([[-sl, cl, 0.0], [-s * cl, -s * sl, c], [c * cl, c * sl, s]])

    def to_local(self, lat: ArrayLike, lon: ArrayLike) -> Floats:
        """Degrees to [..., 2] meters east and north of the origin."""
        delta = _geodetic_to_ecef(lat, lon) - _geodetic_to_ecef(self.lat0, self.lon0)
        return np.asarray(delta @ self._enu_axes()[:2].T)

    def to_local_3d(self, lat: ArrayLike, lon: ArrayLike, alt: ArrayLike) -> Floats:
        """Degrees and meters above sea level to [..., 3] meters: east, north, above `alt0`."""
        east, north = np.moveaxis(self.to_local(lat, lon), -1, 0)
        height = np.asarray(alt, float) - self.alt0
        return np.stack(np.broadcast_arrays(east, north, height), axis=-1)

    def distance_from_origin(self, lat: ArrayLike, lon: ArrayLike) -> Floats:
        """Straight-line meters from the origin; valid at any distance, unlike the plane."""
        chord = _geodetic_to_ecef(lat, lon) - _geodetic_to_ecef(self.lat0, self.lon0)
        return np.asarray(np.linalg.norm(chord, axis=-1))

    @classmethod
    def centered_on(cls, lat: ArrayLike, lon: ArrayLike, alt0: float = 0.0) -> LocalFrame:
        lat, lon = np.asarray(lat, float), np.asarray(lon, float)
        # Relative to the first longitude: the points may lie on both sides of 180 degrees.
        delta = (lon - lon[0] + 180.0) % 360.0 - 180.0
        lon0 = float((lon[0] + delta.mean() + 180.0) % 360.0 - 180.0)
        return cls(float(lat.mean()), lon0, alt0)

    def to_geodetic(self, position: ArrayLike) -> tuple[Floats, Floats]:
        """[..., 2] meters to latitude and longitude in degrees; NaN outside the globe."""
        east_north, up = self._enu_axes()[:2], self._enu_axes()[2]
        on_plane = np.asarray(position, float) @ east_north + _geodetic_to_ecef(
            self.lat0, self.lon0
        )
        # Height of the ellipsoid relative to the plane: the nearer root of a quadratic.
        stretch = np.array([1.0, 1.0, 1.0 / (1.0 - _WGS84_E2)]) / _WGS84_A**2
        a = np.sum(up * up * stretch)
        b = np.sum(on_plane * up * stretch, axis=-1)
        c = np.sum(on_plane * on_plane * stretch, axis=-1) - 1.0
        with np.errstate(invalid="ignore"):
            height = -c / (b + np.sqrt(b * b - a * c))
        x, y, z = np.moveaxis(on_plane + height[..., None] * up, -1, 0)
        lat = np.degrees(np.arctan2(z, (1.0 - _WGS84_E2) * np.hypot(x, y)))
        return lat, np.degrees(np.arctan2(y, x))


@dataclass(frozen=True, slots=True)
class LocalCoordinates:
    """Coordinates of a dataset in meters: `x_m` and `y_m` at a point in degrees."""

    lat: float
    lon: float
    x_m: float
    y_m: float

    def to_geodetic(self, x_m: float, y_m: float) -> tuple[float, float]:
        lat, lon = LocalFrame(self.lat, self.lon).to_geodetic((x_m - self.x_m, y_m - self.y_m))
        return float(lat), float(lon)

    def from_geodetic(self, lat: ArrayLike, lon: ArrayLike) -> Floats:
        """Degrees to [..., 2]: x_m and y_m."""
        plane = LocalFrame(self.lat, self.lon)
        return np.asarray(np.add(plane.to_local(lat, lon), (self.x_m, self.y_m)))


def distances(targets: Floats, receivers: Floats) -> Floats:
    """Distances [N, R] in meters from targets [N, 2] to receivers [R, 3] or [N, R, 3].

    At least 1; NaN where the receiver's position is unknown. Targets are on the ground; so is a
    receiver of unknown altitude.
    """
    targets, receivers = np.asarray(targets, float), np.asarray(receivers, float)
    delta = receivers[..., :2] - targets[:, None, :]
    height = np.nan_to_num(receivers[..., 2])
    return np.maximum(np.hypot(np.hypot(delta[..., 0], delta[..., 1]), height), 1.0)
