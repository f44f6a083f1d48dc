"""Line charts over epochs, sparklines and error distributions; chart.js replaces the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from django.utils.safestring import SafeString

from training.web.charts.svg import SMALLEST, Canvas, Scale, bounded
from training.web.formatting import format_distance, format_distance_tick, format_percent

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 250, 62, 10, 10, 26
Numbers = Sequence[float | None]
Level = tuple[float | None, str]
TickFormat = Callable[[float], str]


def line_chart(
    label: str,
    epochs: Sequence[float],
    lines: Mapping[str, Numbers],
    format_y: TickFormat,
    levels: Mapping[str, Level] | None = None,
    gaps: Sequence[int] = (),
    log: bool = False,
) -> SafeString:
    """Draw several metrics of one job over its epochs.

    `lines` maps a CSS class to one value per epoch, `levels` a CSS class to the value and name of a
    horizontal reference line. `gaps` are the epochs after which the job was paused: the lines are
    interrupted there.
    """
    known_levels = {css: level for css, (level, _) in (levels or {}).items() if level is not None}
    plot = Plot(label, [epochs], [*lines.values(), list(known_levels.values())], format_y, log=log)
    for css, level in known_levels.items() if epochs else ():
        # The lowest level has its name below the line, so two close names do not overlap.
        below = level == min(known_levels.values())
        plot.draw_level(css, level, f"{(levels or {})[css][1]} {format_distance(level)}", below)
    for css, values in lines.items():
        plot.draw_line(css, epochs, values, gaps)
    return plot.canvas.svg()


def comparison_chart(
    label: str,
    lines: Mapping[str, tuple[Sequence[float], Numbers]],
    format_y: TickFormat,
    format_x: TickFormat | None = None,
    log: bool = False,
) -> SafeString:
    """Draw one metric of several jobs; `lines` maps a CSS class to x and y values."""
    xs, ys = [x for x, _ in lines.values()], [y for _, y in lines.values()]
    plot = Plot(label, xs, ys, format_y, format_x, log)
    for css, (x, y) in lines.items():
        plot.draw_line(css, x, y)
    return plot.canvas.svg()


class Plot:
    """Axes that span all given values; without values there are no axes."""

    def __init__(
        self,
        label: str,
        xs: Sequence[Sequence[float]],
        ys: Sequence[Numbers],
        format_y: TickFormat,
        format_x: TickFormat | None = None,
        log: bool = False,
    ) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT, label)
        x_values = [value for line in xs for value in line]
        y_values = [bounded(value) for line in ys for value in line if value is not None]
        first = min(x_values, default=0)
        low, high = min(y_values, default=0), max(y_values, default=1)
        self.x = Scale(first, max([*x_values, first + 1]), LEFT, WIDTH - RIGHT)
        padding = 0.06 * (high - low) or 1.0
        axis_low, axis_high = low - padding, high + padding
        if log and low > 0:
            low, high = max(low, SMALLEST), max(high, SMALLEST)
            axis_low = low / max(1.05, (high / low) ** 0.1)
            axis_high = high * max(1.05, (high / low) ** 0.05)
        self.y = Scale(axis_low, axis_high, HEIGHT - BOTTOM, TOP, log)
        if not y_values or not x_values:
            return
        self.canvas.y_axis(self.y, self.y.ticks(5), format_y, LEFT, WIDTH - RIGHT)
        ticks = [tick for tick in self.x.ticks(8 if format_x is None else 5) if tick.is_integer()]
        self.canvas.x_axis(self.x, ticks, format_x or "{:,.0f}".format, TOP, HEIGHT - BOTTOM)

    def draw_level(self, css: str, level: float, name: str, below: bool = False) -> None:
        self.canvas.line(f"level {css}", (LEFT, self.y(level)), (WIDTH - RIGHT, self.y(level)))
        self.canvas.text(f"name {css}", (LEFT + 6, self.y(level) + (13 if below else -4)), name)

    def draw_line(self, css: str, x: Sequence[float], y: Numbers, gaps: Sequence[int] = ()) -> None:
        """Draw a line, interrupted at missing values and after each x value in `gaps`."""
        points: list[tuple[float, float] | None] = []
        for x_value, y_value in zip(x, y, strict=True):
            points.append(None if y_value is None else (self.x(x_value), self.y(y_value)))
            if x_value in gaps:
                points.append(None)
        self.canvas.curve(f"line {css}", points)


def sparkline(values: Numbers, label: str) -> SafeString:
    canvas = Canvas(96, 22, label, "spark")
    known = [value for value in values if value is not None]
    if len(known) > 1:
        low, high = bounded(min(known)), bounded(max(known))
        x, y = Scale(0, len(values) - 1, 2, 94), Scale(low, high, 20, 2)
        canvas.curve(
            "line",
            (None if value is None else (x(index), y(value)) for index, value in enumerate(values)),
        )
    return canvas.svg()


def cdf_chart(distributions: Mapping[str, tuple[Numbers, Numbers]]) -> SafeString:
    """Draw cumulative error distributions on a logarithmic axis.

    `distributions` maps a CSS class to distances in meters and the share of errors up to each.
    """
    width, height, right = 560, 300, 560 - 22  # the last tick may be as wide as 100 km
    canvas = Canvas(width, height, "Share of positions within a distance", "drawing cdf")
    positive = [
        max(value, 1.0) for distances, _ in distributions.values() for value in distances if value
    ]
    if not positive:
        return canvas.svg()
    low, high = max(min(positive), max(positive) / 1e4), max(positive)
    x = Scale(low, high, LEFT - 16, right, log=True)
    y = Scale(0, 1, height - BOTTOM, TOP)
    canvas.y_axis(y, [0, 0.25, 0.5, 0.68, 0.95], partial(format_percent, digits=0), x.start, x.end)
    canvas.x_axis(x, x.ticks(6), format_distance_tick, TOP, height - BOTTOM)
    for css, (distances, shares) in distributions.items():
        canvas.curve(
            f"line {css}",
            [
                (x(min(max(distance, x.low), x.high)), y(share))
                for distance, share in zip(distances, shares, strict=True)
                if distance is not None and share is not None
            ],
        )
    return canvas.svg()
