"""Maps of datasets and of position errors with their 68 % ellipses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.utils.safestring import SafeString

from training.models.evaluation import MapPoints
from training.web.base_map.drawing import Ground, draw_base_map
from training.web.charts.map_plot import MapPlot, Point
from training.web.formatting import format_distance

# Radius in standard deviations of the ellipse that holds 68 % of a bivariate normal distribution.
RADIUS_68 = math.sqrt(-2 * math.log(1 - 0.68))
# Further ellipses appear only while the pointer is over their sample.
MAX_VISIBLE_ELLIPSES = 120


def error_map(points: MapPoints, limit: int = 400) -> SafeString:
    """Draw true positions as dots, each with a line to its estimate and the 68 % ellipse."""
    true_positions, estimates = points["target"][:limit], points["mean"][:limit]
    covariance = points.get("covariance", [])
    receivers = [
        (east, north, name)
        for east, north, name in points.get("receivers", [])
        if east is not None and north is not None
    ]
    label = f"Map of {len(true_positions)} true positions and their estimates"
    plot = MapPlot([*true_positions, *(receiver[:2] for receiver in receivers)], label)
    plot.draw_grid()
    for index, (truth, estimate) in enumerate(zip(true_positions, estimates, strict=True)):
        ellipse = _ellipse(covariance[index]) if index < len(covariance) else None
        group = plot.canvas.group("sample-error", _tooltip(truth, estimate, ellipse))
        if ellipse:
            x, y = plot(estimate)
            major, minor, turn = ellipse
            group.shape("ellipse",
                        "ellipse" if index < MAX_VISIBLE_ELLIPSES else "ellipse on-hover",
                        cx=x, cy=y, rx=major * plot.pixels_per_meter,
                        ry=minor * plot.pixels_per_meter,
                        transform=f"rotate({-turn:.1f} {x:.1f} {y:.1f})")  # fmt: skip
        group.line("error-line", plot(truth), plot(estimate))
        group.shape("circle", "true-position", cx=plot(truth)[0], cy=plot(truth)[1], r=2)
    plot.draw_receivers(receivers)
    return plot.canvas.svg()


def dataset_map(
    receivers: Sequence[Sequence[Any]],
    samples: Sequence[Sequence[Any]] = (),
    ground: Ground | None = None,
) -> SafeString:
    """Draw receivers, [east, north, name], and samples, [east, north, split]."""
    points = [row[:2] for row in (*receivers, *samples)]
    label = f"Map of {len(receivers)} receivers and {len(samples)} samples"
    plot = MapPlot(points, label)
    plot.draw_grid(draw_base_map(plot, ground) if ground else "")
    for east, north, split in samples:
        x, y = plot((east, north))
        plot.canvas.shape("circle", f"sample {split}", cx=x, cy=y, r=1.8)
    plot.draw_receivers(receivers)
    return plot.canvas.svg()


def _ellipse(covariance: Sequence[float]) -> tuple[float, float, float] | None:
    """Semi-axes in meters of the 68 % ellipse, and its rotation in degrees from east.

    `covariance`: [ee, en, nn] in square meters.
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
