"""Values of a run by metric, as points: values of one step are one point."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from itertools import repeat

from heimdall_sdk.importing.runs import Omissions
from heimdall_sdk.reporter import PointTuple


class _Series:
    """Compact: a run may have millions of values."""

    __slots__ = ("steps", "times", "values")

    def __init__(self) -> None:
        self.steps, self.times, self.values = array("q"), array("d"), array("d")

    def __len__(self) -> int:
        return len(self.steps)

    def is_ascending(self) -> bool:
        steps = self.steps.tolist()
        return len(set(steps)) == len(steps) and sorted(steps) == steps

    def sort(self) -> int:
        """Order by step and keep the last value of each; return how many were dropped."""
        last = {step: position for position, step in enumerate(self.steps)}
        dropped, kept = len(self) - len(last), [last[step] for step in sorted(last)]
        self.steps = array("q", [self.steps[position] for position in kept])
        self.times = array("d", [self.times[position] for position in kept])
        self.values = array("d", [self.values[position] for position in kept])
        return dropped


class MetricTable:
    def __init__(self) -> None:
        self._series: defaultdict[str, _Series] = defaultdict(_Series)

    def add(self, name: str, step: int, time: float, value: float) -> None:
        series = self._series[name]
        series.steps.append(step)
        series.times.append(time)
        series.values.append(value)

    def points(self, omissions: Omissions) -> Iterator[PointTuple]:
        """Metrics with the same steps share their points."""
        groups: defaultdict[bytes, dict[str, _Series]] = defaultdict(dict)
        for name, series in self._series.items():
            if not series.is_ascending() and (dropped := series.sort()):
                omissions.add("earlier values of a metric at the same step", dropped)
            groups[series.steps.tobytes()][name] = series
        # The server keeps one time of each step, the last that it receives.
        for group in sorted(groups.values(), key=lambda group: max(map(_newest, group.values()))):
            names, found = list(group), list(group.values())
            times = map(max, *(one.times for one in found), repeat(0.0))
            rows = zip(*(one.values for one in found), strict=True)
            for step, time, values in zip(found[0].steps, times, rows, strict=True):
                yield step, time, None, dict(zip(names, values, strict=True))


def _newest(series: _Series) -> float:
    return max(series.times)
