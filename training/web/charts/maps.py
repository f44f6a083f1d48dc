"""Maps of datasets and of position errors with their 68 % ellipses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.utils.safestring import SafeString

from training.web.charts.line_charts import short_distance
from training.web.charts.svg import Canvas, Scale, round_step
from training.web.formatting import format_distance

WIDTH, MARGIN, MAX_HEIGHT = 560, 26, 460
# Radius in standard deviations of the ellipse that holds 68 % of a bivariate normal distribution.
RADIUS_68 = math.sqrt(-2 * math.log(1 - 0.68))
# Further ellipses appear only while the pointer is over their sample.
MAX_VISIBLE_ELLIPSES = 120
CHARACTER_WIDTH = 6.2  # average, in pixels
LABEL_HEIGHT = 12
Point = Sequence[float]


class MapPlot:
    """Maps east and north in metres to pixels, with the same scale in both directions."""

    def __init__(self, points: Sequence[Point], label: str) -> None:
        east, north = [p[0] for p in points], [p[1] for p in points]
        width, height = max(east) - min(east) or 1.0, max(north) - min(north) or 1.0
        self.pixels_per_metre = min(
            (WIDTH - 2 * MARGIN) / width, (MAX_HEIGHT - 2 * MARGIN) / height
        )
        pixel_height = max(200.0, height * self.pixels_per_metre + 2 * MARGIN)
        self.canvas = Canvas(WIDTH, pixel_height, label, "drawing map")
        center = ((max(east) + min(east)) / 2, (max(north) + min(north)) / 2)
        half_east = WIDTH / 2 / self.pixels_per_metre
        half_north = pixel_height / 2 / self.pixels_per_metre
        self.x = Scale(center[0] - half_east, center[0] + half_east, 0, WIDTH)
        self.y = Scale(center[1] - half_north, center[1] + half_north, pixel_height, 0)

    def __call__(self, point: Point) -> tuple[float, float]:
        return self.x(point[0]), self.y(point[1])

    def draw_grid(self) -> None:
        """Draw grid lines at round distances, a scale bar and the north arrow."""
        step = round_step((self.x.high - self.x.low) / 7)
        for scale, horizontal in ((self.x, False), (self.y, True)):
            for index in range(math.ceil(scale.low / step), math.floor(scale.high / step) + 1):
                at = scale(index * step)
                ends = ((0, at), (WIDTH, at)) if horizontal else ((at, 0), (at, self.canvas.height))
                self.canvas.line("grid", *ends)
        y, length = self.canvas.height - 12, step * self.pixels_per_metre
        self.canvas.line("scale-bar", (12, y), (12 + length, y))
        self.canvas.text("tick", (18 + length, y + 4), short_distance(step))
        self.canvas.text("tick", (WIDTH - 12, 18), "N ↑", "end")

    def draw_receivers(self, receivers: Sequence[Sequence[Any]]) -> None:
        """Draw markers with names; `receivers`: [east, north, name]."""
        labels: list[tuple[float, float, float]] = []  # left, right and baseline of each
        for east, north, receiver in sorted(receivers, key=lambda row: -float(row[1])):
            name, (x, y) = str(receiver), self((east, north))
            group = self.canvas.group("receiver", name)
            group.shape("path", "receiver-marker", d=f"M{x:.1f} {y - 6:.1f}l5.5 10h-11z")
            width = CHARACTER_WIDTH * len(name)
            on_left = x > WIDTH - width - 20
            start, baseline = (x - 9 - width if on_left else x + 9), y + 4
            # Of two receivers side by side, the second gets its name below the first.
            while any(
                start < right and left < start + width and abs(baseline - other) < LABEL_HEIGHT
                for left, right, other in labels
            ):
                baseline += 6
            labels.append((start, start + width, baseline))
            at = (x - 9 if on_left else x + 9, baseline)
            group.text("name", at, name, "end" if on_left else "start")


def error_map(points: dict[str, Any], limit: int = 400) -> SafeString:
    """Draw true positions as dots, each with a line to its estimate and the 68 % ellipse."""
    true_positions, estimates = points["target"][:limit], points["mean"][:limit]
    covariance = points.get("covariance", [])
    receivers = [row for row in points.get("receivers", []) if None not in row[:2]]
    label = f"Map of {len(true_positions)} true positions and their estimates"
    plot = MapPlot([*true_positions, *(row[:2] for row in receivers)], label)
    plot.draw_grid()
    for index, (truth, estimate) in enumerate(zip(true_positions, estimates, strict=True)):
        ellipse = _ellipse(covariance[index]) if index < len(covariance) else None
        group = plot.canvas.group("sample-error", _tooltip(truth, estimate, ellipse))
        if ellipse:
            x, y = plot(estimate)
            major, minor, turn = ellipse
            group.shape("ellipse",
                        "ellipse" if index < MAX_VISIBLE_ELLIPSES else "ellipse on-hover",
                        cx=x, cy=y, rx=major * plot.pixels_per_metre,
                        ry=minor * plot.pixels_per_metre,
                        transform=f"rotate({-turn:.1f} {x:.1f} {y:.1f})")  # fmt: skip
        group.line("error-line", plot(truth), plot(estimate))
        group.shape("circle", "true-position", cx=plot(truth)[0], cy=plot(truth)[1], r=2)
    plot.draw_receivers(receivers)
    return plot.canvas.svg()


def dataset_map(
    receivers: Sequence[Sequence[Any]], samples: Sequence[Sequence[Any]] = ()
) -> SafeString:
    """Draw receivers, [east, north, name], and samples, [east, north, split]."""
    points = [row[:2] for row in (*receivers, *samples)]
    label = f"Map of {len(receivers)} receivers and {len(samples)} samples"
    plot = MapPlot(points, label)
    plot.draw_grid()
    for east, north, split in samples:
        x, y = plot((east, north))
        plot.canvas.shape("circle", f"sample {split}", cx=x, cy=y, r=1.8)
    plot.draw_receivers(receivers)
    return plot.canvas.svg()


def _ellipse(covariance: Sequence[float]) -> tuple[float, float, float] | None:
    """Semi-axes in metres of the 68 % ellipse, and its rotation in degrees from east.

    `covariance`: [ee, en, nn] in square metres.
    """
    ee, en, nn = covariance
    mean, deviation = (ee + nn) / 2, math.hypot((ee - nn) / 2, en)
    if mean + deviation <= 0:
        return None
    eigenvalues = (mean + deviation, mean - deviation)
    major, minor = (RADIUS_68 * math.sqrt(max(value, 0.0)) for value in eigenvalues)
    return major, minor, math.degrees(0.5 * math.atan2(2 * en, ee - nn))


def _tooltip(truth: Point, estimate: Point, ellipse: tuple[float, float, float] | None) -> str:
    error = f"Error {format_distance(math.dist(truth[:2], estimate[:2]))}"
    if ellipse is None:
        return error
    major, minor = (format_distance(2 * axis) for axis in ellipse[:2])
    return f"{error}; 68 % ellipse {major} × {minor}"
