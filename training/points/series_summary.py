"""Last, lowest and highest value of each series, without reading the series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from training.models import PointBlock, PointIndex
from training.points.columns import (
    MAX_IN_QUERY,
    RETRIES,
    CompactedError,
    StoredSeries,
    decode_series,
    find_series,
)
from training.points.encoding import (
    EMPTY,
    EPOCHS,
    Series,
    Steps,
    decode_block,
    decode_outlines,
    merge,
)


@dataclass(frozen=True, slots=True)
class Extreme:
    value: float
    step: int
    epoch: int | None


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """`last` may be NaN; `lowest` and `highest` are finite, None without finite values.

    They are those of all values, also where a step has several.
    `at_epoch` is the last value in the requested epoch.
    """

    last: float | None
    lowest: Extreme | None
    highest: Extreme | None
    at_epoch: float | None


def summarize_series(
    job_id: UUID, names: Sequence[str], epoch: int | None
) -> dict[str, SeriesSummary]:
    """Summaries by name; unknown names are left out."""
    known = PointIndex.objects.filter(pk=job_id).values_list("names", flat=True).first() or []
    numbers = {name: number for number, name in enumerate(known) if name in set(names)}
    for attempt in range(RETRIES):
        try:
            found = find_series(job_id, [*numbers.values(), EPOCHS], check=attempt < RETRIES - 1)
            epochs = decode_series({EPOCHS: found[EPOCHS]})[EPOCHS]
            steps = epochs.steps[epochs.values == epoch] if epoch is not None else EMPTY.steps
            series = _extremes_of({n: found[n] for n in numbers.values()})
            at_epoch = _last_values_at(job_id, {n: found[n] for n in numbers.values()}, steps)
            break
        except CompactedError:
            continue
    return {
        name: _summarize(series[number], epochs, at_epoch.get(number))
        for name, number in numbers.items()
    }


def _extremes_of(found: Mapping[int, StoredSeries]) -> dict[int, Series]:
    """A part of each series that has its extremes and its last value."""
    # A later value for an earlier step may have replaced the extreme of an outline.
    replaced = {number: one for number, one in found.items() if _is_replaced(one)}
    return {
        number: one.from_outlines() for number, one in found.items() if number not in replaced
    } | decode_series(replaced)


def _is_replaced(one: StoredSeries) -> bool:
    outline = decode_outlines(one.outlines)
    return bool(len(outline)) and any(
        len(part) and part.steps.min() <= outline.steps[-1] for part in one.waiting
    )


def _summarize(outline: Series, epochs: Series, at_epoch: float | None) -> SeriesSummary:
    finite = np.flatnonzero(np.isfinite(outline.values))
    if not len(finite):
        last = float(outline.values[-1]) if len(outline) else None
        return SeriesSummary(last, None, None, at_epoch)
    values = outline.values[finite]
    low, high = finite[values.argmin()], finite[values.argmax()]
    return SeriesSummary(
        last=float(outline.values[-1]),
        lowest=_extreme(outline, int(low), epochs),
        highest=_extreme(outline, int(high), epochs),
        at_epoch=at_epoch,
    )


def _extreme(outline: Series, position: int, epochs: Series) -> Extreme:
    step = int(outline.steps[position])
    index = int(np.searchsorted(epochs.steps, step))
    has_epoch = index < len(epochs) and int(epochs.steps[index]) == step
    return Extreme(
        value=float(outline.values[position]),
        step=step,
        epoch=int(epochs.values[index]) if has_epoch else None,
    )


def _last_values_at(
    job_id: UUID, found: Mapping[int, StoredSeries], steps: Steps
) -> dict[int, float]:
    """The value of each series at the last of `steps` where it has one."""
    if not len(steps):
        return {}
    low, high = int(steps[0]), int(steps[-1])
    rows = PointBlock.objects.filter(job_id=job_id, first_step__lte=high, last_step__gte=low)
    if len(found) <= MAX_IN_QUERY:
        rows = rows.filter(series__in=list(found))
    parts: dict[int, list[Series]] = {number: [] for number in found}
    for number, data in rows.order_by("series", "first_step").values_list("series", "data"):
        if number in parts:
            parts[number].append(decode_block(data))
    values = {}
    for number, one in found.items():
        series = merge([*parts[number], *one.waiting])
        at = np.flatnonzero(np.isin(series.steps, steps))
        if len(at):
            values[number] = float(series.values[at[-1]])
    return values
