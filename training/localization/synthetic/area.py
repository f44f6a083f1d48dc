"""The area transmitters are drawn from: the receivers' convex hull, widened by a margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.localization.geometry import Floats


def convex_hull(points: Floats) -> Floats:
    """[P, 2] corners, anticlockwise, none on an edge (Andrew 1979, the monotone chain)."""
    ordered = np.unique(np.asarray(points, float), axis=0)
    if len(ordered) < 3:
        return ordered
    lower, upper = _chain(ordered), _chain(ordered[::-1])
    return np.array(lower[:-1] + upper[:-1])


class BufferedConvexHull:
    """All places within `margin_m` (> 0) of the hull of `points` [P, 2].

    It is the sum of the hull and a disc, and falls apart into the triangles of the hull, a
    rectangle along each edge, and the sectors of one disc at the corners: a piece is drawn by its
    area, then a place in it, so no place is ever drawn in vain.
    """

    def __init__(self, points: Floats, margin_m: float) -> None:
        self._hull, self.margin = convex_hull(points), margin_m
        self._edges = np.roll(self._hull, -1, axis=0) - self._hull
        self._fan = self._hull[1:] - self._hull[0]
        lengths = np.hypot(self._edges[:, 0], self._edges[:, 1])
        areas = [*(_cross(self._fan[:-1], self._fan[1:]) / 2), *(lengths * margin_m)]
        self._shares = np.cumsum([*areas, np.pi * margin_m**2])

    @property
    def area(self) -> float:
        """In square metres."""
        return float(self._shares[-1])

    def contains(self, places: Floats) -> NDArray[np.bool_]:
        """[N]: whether places [N, 2] lie in it."""
        away = places[:, None] - self._hull  # [N, H, 2]
        length = np.maximum((self._edges**2).sum(axis=1), 1e-12)
        along = np.clip((away * self._edges).sum(axis=-1) / length, 0, 1)
        nearest = np.linalg.norm(away - along[..., None] * self._edges, axis=-1).min(axis=1)
        inside = (_cross(self._edges, away) >= 0).all(axis=1) & (len(self._hull) > 2)
        return np.asarray(inside | (nearest <= self.margin))

    def places(self, uniforms: Floats) -> Floats:
        """[N, 3] numbers uniform in [0, 1) to [N, 2] places uniform in the area."""
        piece = np.searchsorted(self._shares, uniforms[:, 0] * self._shares[-1], side="right")
        triangles = max(len(self._fan) - 1, 0)
        places = self._in_disc(uniforms[:, 1], uniforms[:, 2])
        edge = piece - triangles
        along_edge = (edge >= 0) & (edge < len(self._edges))
        places[along_edge] = self._along_edges(edge[along_edge], uniforms[along_edge, 1:])
        inside = piece < triangles
        places[inside] = self._in_triangles(piece[inside], uniforms[inside, 1:])
        return places

    def _in_disc(self, turn: Floats, reach: Floats) -> Floats:
        """A sector belongs to the corner that lies farthest in its direction."""
        direction = np.column_stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)])
        corner = self._hull[np.argmax(direction @ self._hull.T, axis=1)]
        return np.asarray(corner + self.margin * np.sqrt(reach)[:, None] * direction)

    def _along_edges(self, edge: NDArray[np.intp], uniforms: Floats) -> Floats:
        run = self._edges[edge]
        outward = np.column_stack([run[:, 1], -run[:, 0]]) / np.hypot(run[:, :1], run[:, 1:])
        out = self.margin * uniforms[:, 1:] * outward
        return np.asarray(self._hull[edge] + uniforms[:, :1] * run + out)

    def _in_triangles(self, triangle: NDArray[np.intp], uniforms: Floats) -> Floats:
        """Half of a parallelogram, folded over (Turk 1990, Graphics Gems, p. 24)."""
        folded = np.where(uniforms.sum(axis=1, keepdims=True) > 1, 1 - uniforms, uniforms)
        one, other = self._fan[triangle], self._fan[triangle + 1]
        return np.asarray(self._hull[0] + folded[:, :1] * one + folded[:, 1:] * other)


def _chain(ordered: Floats) -> list[Floats]:
    """The lower hull of points sorted from left to right."""
    chain: list[Floats] = []
    for point in ordered:
        while len(chain) > 1 and _cross(chain[-1] - chain[-2], point - chain[-2]) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _cross(one: Floats, other: Floats) -> Floats:
    return np.asarray(one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])
