"""The curves of a training as the page shows them until its script draws them livelier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from django.utils.safestring import SafeString

from training.web.charts.svg import Canvas, Scale
from training.web.formatting import format_distance

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 250, 62, 10, 10, 26
Numbers = Sequence[float | None]
Level = tuple[float | None, str]


def line_chart(
    label: str,
    epochs: Sequence[float],
    lines: Mapping[str, Numbers],
    say: Callable[[float], str],
    levels: Mapping[str, Level] | None = None,
    gaps: Sequence[int] = (),
    log: bool = False,
) -> SafeString:
    """`lines`: class -> values over the epochs; `levels`: class -> a line across, and its name.

    The pen is lifted after each of `gaps`, where the training rested.
    """
    across = {css: level for css, (level, _) in (levels or {}).items() if level is not None}
    plot = Plot(label, [epochs], [*lines.values(), list(across.values())], say, log=log)
    for css, level in across.items() if epochs else ():
        # The lowest has its name below: two that lie close can both be read.
        below = level == min(across.values())
        plot.level(css, level, f"{(levels or {})[css][1]} {format_distance(level)}", below)
    for css, values in lines.items():
        plot.line(css, epochs, values, gaps)
    return plot.canvas.svg()


def comparison_chart(
    label: str,
    lines: Mapping[str, tuple[Sequence[float], Numbers]],
    say: Callable[[float], str],
    say_x: Callable[[float], str] | None = None,
    log: bool = False,
) -> SafeString:
    """`lines`: class -> where and what, of trainings that each have epochs of their own."""
    wheres, values = [x for x, _ in lines.values()], [y for _, y in lines.values()]
    plot = Plot(label, wheres, values, say, say_x, log)
    for css, (x, y) in lines.items():
        plot.line(css, x, y)
    return plot.canvas.svg()


class Plot:
    """Axes over all that is to be drawn on them; no axes where there is nothing."""

    def __init__(
        self,
        label: str,
        wheres: Sequence[Sequence[float]],
        values: Sequence[Numbers],
        say: Callable[[float], str],
        say_x: Callable[[float], str] | None = None,
        log: bool = False,
    ) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT, label)
        seen = [value for line in values for value in line if value is not None]
        at = [one for where in wheres for one in where]
        first, (low, high) = min(at, default=0), (min(seen, default=0), max(seen, default=1))
        self.x = Scale(first, max([*at, first + 1]), LEFT, WIDTH - RIGHT)
        room = 0.06 * (high - low) or 1.0
        near, far = low - room, high + room
        if log and low > 0:
            near, far = low / max(1.05, (high / low) ** 0.1), high * max(1.05, (high / low) ** 0.05)
        self.y = Scale(near, far, HEIGHT - BOTTOM, TOP, log)
        if not seen or not at:
            return
        self.canvas.y_axis(self.y, self.y.ticks(5), say, LEFT, WIDTH - RIGHT)
        ticks = [tick for tick in self.x.ticks(8 if say_x is None else 5) if tick.is_integer()]
        self.canvas.x_axis(self.x, ticks, say_x or "{:,.0f}".format, TOP, HEIGHT - BOTTOM)

    def level(self, css: str, level: float, said: str, below: bool = False) -> None:
        """A line across, and its name."""
        self.canvas.line(f"level {css}", (LEFT, self.y(level)), (WIDTH - RIGHT, self.y(level)))
        self.canvas.text(f"name {css}", (LEFT + 6, self.y(level) + (13 if below else -4)), said)

    def line(self, css: str, x: Sequence[float], y: Numbers, gaps: Sequence[int] = ()) -> None:
        """A curve; the pen is lifted where a value is missing, and after each of `gaps`."""
        places: list[tuple[float, float] | None] = []
        for at, value in zip(x, y, strict=True):
            places.append(None if value is None else (self.x(at), self.y(value)))
            if at in gaps:
                places.append(None)
        self.canvas.curve(f"line {css}", places)


def sparkline(values: Numbers, label: str) -> SafeString:
    """A curve a word wide."""
    canvas = Canvas(96, 22, label, "spark")
    seen = [value for value in values if value is not None]
    if len(seen) > 1:
        x, y = Scale(0, len(values) - 1, 2, 94), Scale(min(seen), max(seen), 20, 2)
        canvas.curve(
            "line",
            (None if value is None else (x(index), y(value)) for index, value in enumerate(values)),
        )
    return canvas.svg()


def cdf_chart(named: Mapping[str, tuple[Numbers, Numbers]]) -> SafeString:
    """`named`: class -> (metres, share of errors that are no larger); metres on a log scale."""
    width, height = 560, 300
    canvas = Canvas(width, height, "Share of positions within a distance", "drawing cdf")
    seen = [max(one, 1.0) for reach, _ in named.values() for one in reach if one]
    if not seen:
        return canvas.svg()
    x = Scale(max(min(seen), max(seen) / 1e4), max(seen), LEFT - 16, width - RIGHT, log=True)
    y = Scale(0, 1, height - BOTTOM, TOP)
    canvas.y_axis(y, [0, 0.25, 0.5, 0.68, 0.95], lambda share: f"{share:.0%}", x.start, x.end)
    canvas.x_axis(x, x.ticks(6), short_distance, TOP, height - BOTTOM)
    for css, (reach, share) in named.items():
        canvas.curve(
            f"line {css}",
            [
                (x(min(max(at, x.low), x.high)), y(part))
                for at, part in zip(reach, share, strict=True)
                if at is not None and part is not None
            ],
        )
    return canvas.svg()


def short_distance(value: float) -> str:
    """For an axis, where the ticks are round."""
    return f"{value / 1000:g} km" if abs(value) >= 1000 else f"{value:g} m"
