"""The area of the transmitters: the convex hull of the receivers, with a margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.localization.geometry import Floats


def convex_hull(points: Floats) -> Floats:
    """Vertices [H, 2] of points [P, 2], anticlockwise, none on an edge (Andrew 1979)."""
    ordered = np.unique(np.asarray(points, float), axis=0)
    if len(ordered) < 3:
        return ordered
    lower, upper = _lower_hull(ordered), _lower_hull(ordered[::-1])
    return np.array(lower[:-1] + upper[:-1])


class BufferedConvexHull:
    """All positions within `margin_m` (> 0) of the convex hull of `points` [P, 2].

    The area consists of the triangles of the hull, a rectangle along each edge and the sectors of
    one disc at the vertices. `sample` draws a piece by its area, then a position in it, so it
    needs no rejection sampling.
    """

    def __init__(self, points: Floats, margin_m: float) -> None:
        self._hull, self.margin = convex_hull(points), margin_m
        self._edges = np.roll(self._hull, -1, axis=0) - self._hull
        self._fan = self._hull[1:] - self._hull[0]
        lengths = np.hypot(self._edges[:, 0], self._edges[:, 1])
        areas = [*(_cross(self._fan[:-1], self._fan[1:]) / 2), *(lengths * margin_m)]
        self._cumulative_area = np.cumsum([*areas, np.pi * margin_m**2])

    @property
    def area(self) -> float:
        return float(self._cumulative_area[-1])

    def contains(self, positions: Floats) -> NDArray[np.bool_]:
        delta = positions[:, None] - self._hull  # [N, H, 2]
        length = np.maximum((self._edges**2).sum(axis=1), 1e-12)
        along = np.clip((delta * self._edges).sum(axis=-1) / length, 0, 1)
        nearest = np.linalg.norm(delta - along[..., None] * self._edges, axis=-1).min(axis=1)
        inside = (_cross(self._edges, delta) >= 0).all(axis=1) & (len(self._hull) > 2)
        return np.asarray(inside | (nearest <= self.margin))

    def sample(self, uniforms: Floats) -> Floats:
        """Numbers [N, 3] uniform in [0, 1) to positions [N, 2] uniform in the area."""
        drawn_area = uniforms[:, 0] * self._cumulative_area[-1]
        piece = np.searchsorted(self._cumulative_area, drawn_area, side="right")
        triangles = max(len(self._fan) - 1, 0)
        positions = self._sample_disc(uniforms[:, 1], uniforms[:, 2])
        edge = piece - triangles
        on_edge = (edge >= 0) & (edge < len(self._edges))
        positions[on_edge] = self._sample_rectangles(edge[on_edge], uniforms[on_edge, 1:])
        inside = piece < triangles
        positions[inside] = self._sample_triangles(piece[inside], uniforms[inside, 1:])
        return positions

    def _sample_disc(self, turn: Floats, radius: Floats) -> Floats:
        # A direction belongs to the sector of the vertex that is farthest in that direction.
        direction = np.column_stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)])
        vertex = self._hull[np.argmax(direction @ self._hull.T, axis=1)]
        return np.asarray(vertex + self.margin * np.sqrt(radius)[:, None] * direction)

    def _sample_rectangles(self, edge: NDArray[np.intp], uniforms: Floats) -> Floats:
        along = self._edges[edge]
        normal = np.column_stack([along[:, 1], -along[:, 0]]) / np.hypot(along[:, :1], along[:, 1:])
        outward = self.margin * uniforms[:, 1:] * normal
        return np.asarray(self._hull[edge] + uniforms[:, :1] * along + outward)

    def _sample_triangles(self, triangle: NDArray[np.intp], uniforms: Floats) -> Floats:
        # Sample a parallelogram and fold one half over the other (Turk 1990, Graphics Gems).
        folded = np.where(uniforms.sum(axis=1, keepdims=True) > 1, 1 - uniforms, uniforms)
        a, b = self._fan[triangle], self._fan[triangle + 1]
        return np.asarray(self._hull[0] + folded[:, :1] * a + folded[:, 1:] * b)


def _lower_hull(ordered: Floats) -> list[Floats]:
    chain: list[Floats] = []
    for point in ordered:
        while len(chain) > 1 and _cross(chain[-1] - chain[-2], point - chain[-2]) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
