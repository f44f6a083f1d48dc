"""Positions on the plane: local east and north in metres around an origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]

SPEED_OF_LIGHT = 299_792_458.0  # m/s
_WGS84_A = 6_378_137.0  # m, semi-major axis
_WGS84_E2 = 6.694_379_990_14e-3  # first eccentricity squared


def _geodetic_to_ecef(lat: ArrayLike, lon: ArrayLike) -> Floats:
    """Degrees on the ellipsoid to [..., 3] metres from the centre of the earth."""
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

    Transmitters are taken to stand on it, for nobody knows their height: `alt0` says how many
    metres above the sea that ground lies.

    Orthographic (IOGP Guidance Note 7-2, EPSG method 9840): both ways in closed form, at any
    latitude. At d metres from the origin a length is short by at most (d / 6,370 km)^2 / 2: 1.2e-4
    at 100 km, 5e-4 at 200 km. Meant for areas up to some 500 km; beyond a quarter of the earth's
    circumference points fall back upon others.
    """

    lat0: float
    lon0: float
    alt0: float = 0.0

    def _axes(self) -> Floats:
        """[3, 3] rows: east, north, up at the origin, in earth-centred coordinates."""
        phi, lam = np.radians(self.lat0), np.radians(self.lon0)
        s, c, sl, cl = np.sin(phi), np.cos(phi), np.sin(lam), np.cos(lam)
        return np.array([[-sl, cl, 0.0], [-s * cl, -s * sl, c], [c * cl, c * sl, s]])

    def to_local(self, lat: ArrayLike, lon: ArrayLike) -> Floats:
        """Degrees to [..., 2] metres east and north of the origin."""
        away = _geodetic_to_ecef(lat, lon) - _geodetic_to_ecef(self.lat0, self.lon0)
        return np.asarray(away @ self._axes()[:2].T)

    def to_local_3d(self, lat: ArrayLike, lon: ArrayLike, alt: ArrayLike) -> Floats:
        """Degrees, and metres above the sea, to [..., 3] metres: east, north, above the ground."""
        east, north = np.moveaxis(self.to_local(lat, lon), -1, 0)
        height = np.asarray(alt, float) - self.alt0
        return np.stack(np.broadcast_arrays(east, north, height), axis=-1)

    def distance_from_origin(self, lat: ArrayLike, lon: ArrayLike) -> Floats:
        """Metres from the origin, straight through the earth: also where the plane is of no use."""
        chord = _geodetic_to_ecef(lat, lon) - _geodetic_to_ecef(self.lat0, self.lon0)
        return np.asarray(np.linalg.norm(chord, axis=-1))

    @classmethod
    def centered_on(cls, lat: ArrayLike, lon: ArrayLike, alt0: float = 0.0) -> LocalFrame:
        """The plane in the middle of some places [P], in degrees."""
        lat, lon = np.asarray(lat, float), np.asarray(lon, float)
        # From the first one, since longitudes may lie on both sides of 180 degrees.
        turn = (lon - lon[0] + 180.0) % 360.0 - 180.0
        middle = float((lon[0] + turn.mean() + 180.0) % 360.0 - 180.0)
        return cls(float(lat.mean()), middle, alt0)

    def to_geodetic(self, position: ArrayLike) -> tuple[Floats, Floats]:
        """[..., 2] metres to latitude and longitude in degrees; NaN off the globe."""
        east_north, up = self._axes()[:2], self._axes()[2]
        on_plane = np.asarray(position, float) @ east_north + _geodetic_to_ecef(
            self.lat0, self.lon0
        )
        # How far below the plane the ellipsoid lies: the nearer root of a quadratic.
        stretch = np.array([1.0, 1.0, 1.0 / (1.0 - _WGS84_E2)]) / _WGS84_A**2
        a = np.sum(up * up * stretch)
        b = np.sum(on_plane * up * stretch, axis=-1)
        c = np.sum(on_plane * on_plane * stretch, axis=-1) - 1.0
        with np.errstate(invalid="ignore"):
            rise = -c / (b + np.sqrt(b * b - a * c))
        x, y, z = np.moveaxis(on_plane + rise[..., None] * up, -1, 0)
        lat = np.degrees(np.arctan2(z, (1.0 - _WGS84_E2) * np.hypot(x, y)))
        return lat, np.degrees(np.arctan2(y, x))


def distances(targets: Floats, receivers: Floats) -> Floats:
    """Targets [N, 2] to receivers [R, 3] or [N, R, 3]: metres [N, R], at least 1; NaN if unknown.

    Targets stand on the ground; a receiver of unknown altitude is taken to stand there, too.
    """
    targets, receivers = np.asarray(targets, float), np.asarray(receivers, float)
    away = receivers[..., :2] - targets[:, None, :]
    rise = np.nan_to_num(receivers[..., 2])
    return np.maximum(np.hypot(np.hypot(away[..., 0], away[..., 1]), rise), 1.0)
