"""The table and the map of the page Locate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean

from django.utils.safestring import SafeString

from training.programs.positions import Ellipse, Position, Positions
from training.programs.registry import get_program
from training.web import formatting
from training.web.base_map.drawing import Ground
from training.web.charts.answer_map import MappedAnswer, answer_map
from training.web.locate_form import Outcome, Receivers

MAX_SHOWN = 200  # positions on the page; downloads contain all
_NAMED = 8  # receivers named in a row


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A formatted position; `heard` lists the map numbers of the receivers that heard it."""

    number: int
    sample: str
    place: str
    locator: str
    ellipse_68: str
    ellipse_95: str
    receivers: str
    heard: str


def results(receivers: Receivers, outcome: Outcome | None) -> dict[str, object]:
    positions = outcome.positions if outcome else Positions([], 0)
    shown = [
        (number, position)
        for number, position in enumerate(islice(positions, MAX_SHOWN))
        if position["lat"] is not None
    ]
    return {
        "answers": [_answer_row(number, position, receivers) for number, position in shown],
        "count": len(positions),
        "in_meters": any("x_m" in position for _, position in shown[:1]),
        "map": _map(receivers, shown),
    }


def _answer_row(number: int, position: Position, receivers: Receivers) -> AnswerRow:
    heard = position["receivers"]
    more = len(heard) - _NAMED
    return AnswerRow(
        number=number,
        sample=position["sample_id"],
        place=_place(position),
        locator=position["locator"],
        ellipse_68=_axes(position["ellipse_68"]),
        ellipse_95=_axes(position["ellipse_95"]),
        receivers=", ".join(heard[:_NAMED]) + (f" and {more} more" if more > 0 else ""),
        heard=" ".join(str(receivers.numbers[name]) for name in heard if name in receivers.numbers),
    )


def _place(position: Position) -> str:
    """Latitude and longitude, or meters where the dataset is in meters."""
    if "x_m" in position:
        return f"{position['x_m']:.2f}, {position['y_m']:.2f}"
    return f"{position['lat']:.5f}, {position['lon']:.5f}"


def _axes(ellipse: Ellipse) -> str:
    """Both full axes."""
    return formatting.format_axes(2 * ellipse["semi_major_m"], 2 * ellipse["semi_minor_m"])


def _map(receivers: Receivers, shown: Sequence[tuple[int, Position]]) -> SafeString | None:
    """The map; None if there is no position to draw."""
    fixed = [
        (float(one["lat"]), float(one["lon"]), name, number)
        for number, (name, one) in enumerate(zip(receivers.ids, receivers.all, strict=True))
        if one["lat"] is not None
    ]
    places = [
        *((lat, lon) for lat, lon, *_ in fixed),
        *((position["lat"], position["lon"]) for _, position in shown),
    ]
    if not places:
        return None
    ground = _ground(places)
    lats, lons = zip(*places, strict=True)
    projected = ground.project(lats, list(_unwrapped(lons)))
    markers = [
        (east, north, name, number)
        for (east, north), (_, _, name, number) in zip(projected, fixed, strict=False)
    ]
    answers = [
        MappedAnswer(
            number=number,
            title=_tooltip(position),
            place=place,
            ellipse_68=position["ellipse_68"],
            ellipse_95=position["ellipse_95"],
        )
        for place, (number, position) in zip(projected[len(fixed) :], shown, strict=True)
    ]
    return answer_map(answers, markers, ground)


def _ground(places: Sequence[tuple[float, float]]) -> Ground:
    origin = fmean(lat for lat, _ in places), fmean(_unwrapped([lon for _, lon in places]))
    return Ground(origin, partial(get_program().dataset_format.project, origin))


def _unwrapped(lons: Iterable[float]) -> Iterator[float]:
    """Longitudes relative to the first: positions may be on both sides of the 180th meridian."""
    first = None
    for lon in lons:
        first = lon if first is None else first
        yield first + (lon - first + 180) % 360 - 180


def _tooltip(position: Position) -> str:
    name = f"{position['sample_id']}: " if position["sample_id"] else ""
    place = f"{_place(position)} m" if "x_m" in position else position["locator"]
    return f"{name}{place}; 68 % ellipse {_axes(position['ellipse_68'])}"
