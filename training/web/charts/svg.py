"""An SVG canvas with scales, ticks and axes; ElementTree escapes all text and attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from django.utils.safestring import SafeString, mark_safe

Point = tuple[float, float]
# Sums and powers of larger values, and logarithms of smaller ones, are not finite. A curve beyond
# this is drawn at the edge.
LARGEST, SMALLEST = 1e150, 1e-150


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps data [low, high] to pixels [start, end], linearly or logarithmically.

    A logarithmic scale whose data is not all positive uses arcsinh, which is logarithmic far from
    zero on both sides.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = self.low, self.high, bounded(value)
        if self.log and low > 0:
            value = max(value, SMALLEST)
        if self.log:
            transform = math.log if self.low > 0 else math.asinh
            value, low, high = transform(value), transform(low), transform(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values inside the scale."""
        if self.log:
            found = _log_ticks(self.low, self.high, count)
            # With fewer than three, evenly spaced values are easier to read.
            if len(found) > 2:
                return found
        step = round_step((self.high - self.low) / count) if self.high > self.low else 1.0
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def bounded(value: float) -> float:
    return max(-LARGEST, min(value, LARGEST))


def round_step(minimum: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is at least `minimum`."""
    power = 10.0 ** math.floor(math.log10(minimum)) if minimum > 0 else 1.0
    steps = (power * factor for factor in (1, 2, 5, 10))
    return next(step for step in steps if step >= minimum * (1 - 1e-9))


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    """1, 2, 5, 10, ... on both sides of zero; fewer per decade if there would be too many."""
    smallest = math.floor(math.log10(low)) if low > 0 else 0
    exponents = range(smallest, math.ceil(math.log10(max(abs(low), abs(high), 1))) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        positive = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        candidates = [*(-value for value in reversed(positive)), 0, *positive]
        found = [value for value in candidates if low <= value <= high]
        if len(found) <= count + 2:
            break
    return found


class Canvas:
    """An SVG element; the style sheet colors its shapes by class."""

    def __init__(self, width: float, height: float, label: str, css: str = "drawing") -> None:
        self.width, self.height = width, height
        self.root = ET.Element(
            "svg", {"viewBox": f"0 0 {width:g} {height:g}", "class": css, "role": "img",
                    "aria-label": label},
        )  # fmt: skip
        self._parent = self.root

    def group(self, css: str, title: str = "", **attributes: str) -> Canvas:
        """A canvas that draws into a new group; `title` becomes its tooltip."""
        inner = object.__new__(Canvas)
        inner.width, inner.height, inner.root = self.width, self.height, self.root
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        inner._parent = ET.SubElement(self._parent, "g", {"class": css, **named})
        if title:
            ET.SubElement(inner._parent, "title").text = title
        return inner

    def shape(self, kind: str, css: str, **attributes: float | str) -> None:
        texts = {name.replace("_", "-"): _text(value) for name, value in attributes.items()}
        ET.SubElement(self._parent, kind, {"class": css, **texts})

    def line(self, css: str, start: Point, end: Point) -> None:
        self.shape("line", css, x1=start[0], y1=start[1], x2=end[0], y2=end[1])

    def text(self, css: str, at: Point, content: str, anchor: str = "start") -> None:
        attributes = {"class": css, "x": _text(at[0]), "y": _text(at[1]), "text-anchor": anchor}
        ET.SubElement(self._parent, "text", attributes).text = content

    def curve(self, css: str, points: Iterable[Point | None]) -> None:
        """Draw a line through the points, interrupted at each None."""
        path, command = [], "M"
        for point in points:
            if point is None:
                command = "M"
                continue
            path.append(f"{command}{_text(point[0])} {_text(point[1])}")
            command = "L"
        if path:
            self.shape("path", css, d="".join(path))

    def x_axis(self, scale: Scale, ticks: Sequence[float], tick_format: Callable[[float], str],
               top: float, bottom: float) -> None:  # fmt: skip
        for tick in ticks:
            self.line("grid", (scale(tick), top), (scale(tick), bottom))
            self.text("tick", (scale(tick), bottom + 15), tick_format(tick), "middle")

    def y_axis(self, scale: Scale, ticks: Sequence[float], tick_format: Callable[[float], str],
               left: float, right: float) -> None:  # fmt: skip
        for tick in ticks:
            self.line("grid", (left, scale(tick)), (right, scale(tick)))
            self.text("tick", (left - 7, scale(tick) + 4), tick_format(tick), "end")

    def svg(self) -> SafeString:
        # ElementTree has escaped every text and attribute.
        return mark_safe(ET.tostring(self.root, encoding="unicode"))  # noqa: S308


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"
