"""An SVG being drawn: scales from data to pixels, ticks, lines; all escaped by construction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from django.utils.safestring import SafeString, mark_safe

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """From data [low, high] to pixels [start, end]; logarithmic where asked.

    Where there are values below nought that is arcsinh, which is one on either side.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            bend = math.log if self.low > 0 else math.asinh
            value, low, high = bend(value), bend(low), bend(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the scale."""
        if self.log:
            found = _decades(self.low, self.high, about)
            # Where the decades are too far apart to read by, evenly spread values.
            if len(found) > 2:
                return found
        step = round_step((self.high - self.low) / about) if self.high > self.low else 1.0
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _decades(low: float, high: float, about: int) -> list[float]:
    """1, 2, 5, 10, ... on either side of nought, or only the tens where that would be many."""
    least = math.floor(math.log10(low)) if low > 0 else 0
    exponents = range(least, math.ceil(math.log10(max(abs(low), abs(high), 1))) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        above = [f * 10.0**e for e in exponents for f in factors]
        found = [one for one in [*(-one for one in above[::-1]), 0, *above] if low <= one <= high]
        if len(found) <= about + 2:
            break
    return found


class Canvas:
    """Shapes are told apart by class, and coloured by the style sheet."""

    def __init__(self, width: float, height: float, label: str, css: str = "drawing") -> None:
        self.width, self.height = width, height
        self.root = ET.Element(
            "svg", {"viewBox": f"0 0 {width:g} {height:g}", "class": css, "role": "img",
                    "aria-label": label},
        )  # fmt: skip
        self._into = self.root

    def group(self, css: str, title: str = "") -> Canvas:
        """What is drawn on it lies in a group of its own."""
        inner = object.__new__(Canvas)
        inner.width, inner.height, inner.root = self.width, self.height, self.root
        inner._into = ET.SubElement(self._into, "g", {"class": css})
        if title:
            ET.SubElement(inner._into, "title").text = title
        return inner

    def shape(self, kind: str, css: str, **attributes: float | str) -> None:
        said = {name.replace("_", "-"): _short(value) for name, value in attributes.items()}
        ET.SubElement(self._into, kind, {"class": css, **said})

    def line(self, css: str, one: Point, other: Point) -> None:
        self.shape("line", css, x1=one[0], y1=one[1], x2=other[0], y2=other[1])

    def text(self, css: str, at: Point, said: str, anchor: str = "start") -> None:
        words = {"class": css, "x": _short(at[0]), "y": _short(at[1]), "text-anchor": anchor}
        ET.SubElement(self._into, "text", words).text = said

    def curve(self, css: str, places: Iterable[Point | None]) -> None:
        """A line through the places; None lifts the pen."""
        path, pen = [], "M"
        for place in places:
            if place is None:
                pen = "M"
                continue
            path.append(f"{pen}{_short(place[0])} {_short(place[1])}")
            pen = "L"
        if path:
            self.shape("path", css, d="".join(path))

    def x_axis(self, scale: Scale, ticks: Sequence[float], say: Callable[[float], str],
               top: float, bottom: float) -> None:  # fmt: skip
        for tick in ticks:
            self.line("grid", (scale(tick), top), (scale(tick), bottom))
            self.text("tick", (scale(tick), bottom + 15), say(tick), "middle")

    def y_axis(self, scale: Scale, ticks: Sequence[float], say: Callable[[float], str],
               left: float, right: float) -> None:  # fmt: skip
        for tick in ticks:
            self.line("grid", (left, scale(tick)), (right, scale(tick)))
            self.text("tick", (left - 7, scale(tick) + 4), say(tick), "end")

    def svg(self) -> SafeString:
        # ElementTree has escaped every text and attribute.
        return mark_safe(ET.tostring(self.root, encoding="unicode"))  # noqa: S308


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"
