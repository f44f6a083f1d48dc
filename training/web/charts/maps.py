"""Where transmitters stood, where the network put them, and how sure it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.utils.safestring import SafeString

from training.web.charts.svg import Canvas, Scale, round_step
from training.web.formatting import format_distance

WIDTH, MARGIN, TALLEST = 560, 26, 460
RADIUS_68 = math.sqrt(-2 * math.log(1 - 0.68))
MOST_ELLIPSES = 120
LETTER = 6.2  # how wide one is, about
Pair = Sequence[float]


class Plane:
    """East and north in metres to pixels, the same scale both ways."""

    def __init__(self, places: Sequence[Pair], label: str) -> None:
        east, north = [p[0] for p in places], [p[1] for p in places]
        wide, high = max(east) - min(east) or 1.0, max(north) - min(north) or 1.0
        self.per_metre = min((WIDTH - 2 * MARGIN) / wide, (TALLEST - 2 * MARGIN) / high)
        height = max(200.0, high * self.per_metre + 2 * MARGIN)
        self.canvas = Canvas(WIDTH, height, label, "drawing map")
        middle = ((max(east) + min(east)) / 2, (max(north) + min(north)) / 2)
        half = (WIDTH / 2 / self.per_metre, height / 2 / self.per_metre)
        self.x = Scale(middle[0] - half[0], middle[0] + half[0], 0, WIDTH)
        self.y = Scale(middle[1] - half[1], middle[1] + half[1], height, 0)

    def __call__(self, place: Pair) -> tuple[float, float]:
        return self.x(place[0]), self.y(place[1])

    def ground(self) -> None:
        """A grid of round lengths, and what one square of it is."""
        step = round_step((self.x.high - self.x.low) / 7)
        for scale, across in ((self.x, False), (self.y, True)):
            for index in range(math.ceil(scale.low / step), math.floor(scale.high / step) + 1):
                at = scale(index * step)
                ends = ((0, at), (WIDTH, at)) if across else ((at, 0), (at, self.canvas.height))
                self.canvas.line("grid", *ends)
        bottom, long = self.canvas.height - 12, step * self.per_metre
        self.canvas.line("ruler", (12, bottom), (12 + long, bottom))
        self.canvas.text("tick", (18 + long, bottom + 4), f"{_round(step)}")
        self.canvas.text("tick", (WIDTH - 12, 18), "N ↑", "end")

    def receivers(self, receivers: Sequence[Sequence[Any]]) -> None:
        taken: list[tuple[float, float, float]] = []  # from, to, baseline of each name
        for east, north, said in sorted(receivers, key=lambda one: -float(one[1])):
            name, (x, y) = str(said), self((east, north))
            group = self.canvas.group("receiver", name)
            group.shape("path", "mast", d=f"M{x:.1f} {y - 6:.1f}l5.5 10h-11z")
            long = LETTER * len(name)
            left = x > WIDTH - long - 20
            start, line = (x - 9 - long if left else x + 9), y + 4
            # Two masts side by side: the second name goes below the first.
            while any(start < end and first < start + long and abs(line - at) < 12
                      for first, end, at in taken):  # fmt: skip
                line += 6
            taken.append((start, start + long, line))
            at = (x - 9 if left else x + 9, line)
            group.text("name", at, name, "end" if left else "start")


def error_map(points: dict[str, Any], shown: int = 400) -> SafeString:
    """True places as dots, each with a line to where it was put, and the ellipse of 68 %."""
    target, mean = points["target"][:shown], points["mean"][:shown]
    covariance = points.get("covariance", [])
    receivers = [one for one in points.get("receivers", []) if None not in one[:2]]
    label = f"Map of {len(target)} true positions and where the network put them"
    plane = Plane([*target, *(one[:2] for one in receivers)], label)
    plane.ground()
    for index, (was, said) in enumerate(zip(target, mean, strict=True)):
        ellipse = _ellipse(covariance[index]) if index < len(covariance) else None
        pair = plane.canvas.group("pair", _words(was, said, ellipse))
        if ellipse:
            x, y = plane(said)
            major, minor, turn = ellipse
            pair.shape("ellipse", "sure" if index < MOST_ELLIPSES else "sure rest",
                       cx=x, cy=y, rx=major * plane.per_metre, ry=minor * plane.per_metre,
                       transform=f"rotate({-turn:.1f} {x:.1f} {y:.1f})")  # fmt: skip
        pair.line("off", plane(was), plane(said))
        pair.shape("circle", "was", cx=plane(was)[0], cy=plane(was)[1], r=2)
    plane.receivers(receivers)
    return plane.canvas.svg()


def dataset_map(
    receivers: Sequence[Sequence[Any]], samples: Sequence[Sequence[Any]] = ()
) -> SafeString:
    """Where a dataset was heard, and some of what was sent; [east, north, name or split]."""
    places = [one[:2] for one in (*receivers, *samples)]
    label = f"Map of {len(receivers)} receivers and {len(samples)} of the samples"
    plane = Plane(places, label)
    plane.ground()
    for east, north, split in samples:
        x, y = plane((east, north))
        plane.canvas.shape("circle", f"sample {split}", cx=x, cy=y, r=1.8)
    plane.receivers(receivers)
    return plane.canvas.svg()


def _ellipse(covariance: Sequence[float]) -> tuple[float, float, float] | None:
    """Half axes in metres of the ellipse that should hold 68 %, and its turn in degrees from east.

    `covariance`: [ee, en, nn] in square metres.
    """
    ee, en, nn = covariance
    middle, off = (ee + nn) / 2, math.hypot((ee - nn) / 2, en)
    if middle + off <= 0:
        return None
    axes = [RADIUS_68 * math.sqrt(max(one, 0.0)) for one in (middle + off, middle - off)]
    return axes[0], axes[1], math.degrees(0.5 * math.atan2(2 * en, ee - nn))


def _words(was: Pair, said: Pair, ellipse: tuple[float, float, float] | None) -> str:
    off = f"Off by {format_distance(math.dist(was[:2], said[:2]))}"
    if ellipse is None:
        return off
    return (
        f"{off}; 68 % ellipse {format_distance(2 * ellipse[0])} × {format_distance(2 * ellipse[1])}"
    )


def _round(step: float) -> str:
    return f"{step / 1000:g} km" if step >= 1000 else f"{step:g} m"
