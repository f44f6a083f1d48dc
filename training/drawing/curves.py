"""The curves of a training as the page shows them until its script draws them livelier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from django.utils.safestring import SafeString

from training.drawing.canvas import Canvas, Scale
from training.words import metres

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 250, 62, 10, 10, 26
Numbers = Sequence[float | None]
Level = tuple[float | None, str]


def curves(
    label: str,
    epochs: Sequence[float],
    lines: Mapping[str, Numbers],
    say: Callable[[float], str],
    levels: Mapping[str, Level] | None = None,
    gaps: Sequence[int] = (),
) -> SafeString:
    """`lines`: class -> values over the epochs; `levels`: class -> a line across, and its name.

    The pen is lifted after each of `gaps`, where the training rested.
    """
    canvas = Canvas(WIDTH, HEIGHT, label)
    across = {css: level for css, (level, _) in (levels or {}).items() if level is not None}
    seen = [value for line in lines.values() for value in line if value is not None]
    if not seen:
        return canvas.svg()
    low, high = min([*seen, *across.values()]), max([*seen, *across.values()])
    room = 0.06 * (high - low) or 1.0
    x = Scale(epochs[0], max(epochs[-1], epochs[0] + 1), LEFT, WIDTH - RIGHT)
    y = Scale(low - room, high + room, HEIGHT - BOTTOM, TOP)
    canvas.y_axis(y, y.ticks(5), say, LEFT, WIDTH - RIGHT)
    whole = [tick for tick in x.ticks(8) if float(tick).is_integer()]
    canvas.x_axis(x, whole, lambda tick: f"{tick:,.0f}", TOP, HEIGHT - BOTTOM)
    for css, level in across.items():
        canvas.line(f"level {css}", (LEFT, y(level)), (WIDTH - RIGHT, y(level)))
        said = f"{(levels or {})[css][1]} {metres(level)}"
        canvas.text(f"name {css}", (LEFT + 6, y(level) - 4), said)
    for css, values in lines.items():
        places: list[tuple[float, float] | None] = []
        for epoch, value in zip(epochs, values, strict=True):
            places.append(None if value is None else (x(epoch), y(value)))
            if epoch in gaps:
                places.append(None)
        canvas.curve(f"line {css}", places)
    return canvas.svg()


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


def distributions(named: Mapping[str, tuple[Numbers, Numbers]]) -> SafeString:
    """`named`: class -> (metres, share of errors that are no larger); metres on a log scale."""
    width, height = 560, 300
    canvas = Canvas(width, height, "Share of positions within a distance", "drawing cdf")
    seen = [max(one, 1.0) for reach, _ in named.values() for one in reach if one]
    if not seen:
        return canvas.svg()
    x = Scale(max(min(seen), max(seen) / 1e4), max(seen), LEFT - 16, width - RIGHT, log=True)
    y = Scale(0, 1, height - BOTTOM, TOP)
    canvas.y_axis(y, [0, 0.25, 0.5, 0.68, 0.95], lambda share: f"{share:.0%}", x.start, x.end)
    canvas.x_axis(x, x.ticks(6), short_metres, TOP, height - BOTTOM)
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


def short_metres(value: float) -> str:
    """For an axis, where the ticks are round."""
    return f"{value / 1000:g} km" if abs(value) >= 1000 else f"{value:g} m"
