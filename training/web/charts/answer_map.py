"""The map of estimated positions with their 68 % and 95 % ellipses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from training.programs.positions import Ellipse
from training.web.base_map.drawing import Ground, draw_base_map
from training.web.charts.map_plot import MapPlot
from training.web.charts.svg import Canvas

# Fills of more ellipses would add up to one color that hides what is below.
MAX_FILLED_ELLIPSES = 3
# Of more positions, the ellipses appear only while the pointer is over them or they are chosen.
MAX_VISIBLE_ELLIPSES = 40
# How far the frame extends beyond positions and receivers to show whole ellipses, as a share.
_MAX_GROWTH = 1.0

Place = tuple[float, float]  # meters east and north


@dataclass(frozen=True, slots=True)
class MappedAnswer:
    """A position; `number` identifies it in the table of the page."""

    number: int
    title: str
    place: Place
    ellipse_68: Ellipse
    ellipse_95: Ellipse


def answer_map(
    answers: Sequence[MappedAnswer],
    receivers: Sequence[tuple[float, float, str, int]],
    ground: Ground | None = None,
) -> SafeString:
    """Draw receivers, (east, north, name, number), and positions on top of them."""
    label = f"Map of {len(receivers)} receivers"
    if answers:
        count = f"{len(answers)} estimated position{'s' if len(answers) > 1 else ''}"
        label = f"Map of {count} and {len(receivers)} receivers"
    places = [*(one.place for one in answers), *((east, north) for east, north, *_ in receivers)]
    plot = MapPlot([*places, *_corners(answers, places)], label)
    plot.draw_grid(draw_base_map(plot, ground) if ground else "")
    shown = ""
    if len(answers) > MAX_FILLED_ELLIPSES:
        shown = " unfilled" if len(answers) <= MAX_VISIBLE_ELLIPSES else " on-hover"
    for answer in answers:
        group = plot.canvas.group("answer", answer.title, id=f"map-{answer.number}")
        _draw_ellipse(plot, group, answer.place, answer.ellipse_95, f"ellipse outer{shown}")
        _draw_ellipse(plot, group, answer.place, answer.ellipse_68, f"ellipse{shown}")
    plot.draw_receivers([receiver[:3] for receiver in receivers], [one[3] for one in receivers])
    for answer in answers:  # on top of all ellipses
        x, y = plot(answer.place)
        group = plot.canvas.group("answer", answer.title, data_answer=str(answer.number))
        group.shape("circle", "target", cx=x, cy=y, r=12)
        group.shape("circle", "estimate", cx=x, cy=y, r=4 if len(answers) <= 100 else 2.5)
    return plot.canvas.svg()


def _corners(answers: Sequence[MappedAnswer], places: Sequence[Place]) -> list[Place]:
    """Corners of a frame that shows the ellipses; a vast one is cut off."""
    east, north = [place[0] for place in places], [place[1] for place in places]
    span = max(max(east) - min(east), max(north) - min(north))
    if len(places) == 1:
        span = 2 * max(one.ellipse_95["semi_major_m"] for one in answers) if answers else 2000.0
    reach = _MAX_GROWTH * span
    corners: list[Place] = []
    for answer in answers:
        for ellipse, share in ((answer.ellipse_68, 1.0), (answer.ellipse_95, 0.25)):
            radius = min(ellipse["semi_major_m"], share * reach)
            corners += [
                (answer.place[0] + sign * radius, answer.place[1] + sign * radius)
                for sign in (-1, 1)
            ]
    if not answers and len(places) == 1:
        corners = [(east[0] + sign * span / 2, north[0] + sign * span / 2) for sign in (-1, 1)]
    return corners


def _draw_ellipse(plot: MapPlot, group: Canvas, place: Place, ellipse: Ellipse, css: str) -> None:
    x, y = plot(place)
    if not all(map(math.isfinite, (ellipse["semi_major_m"], ellipse["azimuth_deg"]))):
        return
    group.shape(
        "ellipse",
        css,
        cx=x,
        cy=y,
        rx=ellipse["semi_major_m"] * plot.pixels_per_meter,
        ry=ellipse["semi_minor_m"] * plot.pixels_per_meter,
        transform=f"rotate({ellipse['azimuth_deg'] - 90:.1f} {x:.1f} {y:.1f})",
    )
