"""Values of a run by metric, as points: values of one step and time are one point."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator

from heimdall_sdk.reporter import PointTuple


class _Series:
    """Compact: a run may have millions of values."""

    __slots__ = ("steps", "times", "values")

    def __init__(self) -> None:
        self.steps, self.times, self.values = array("q"), array("d"), array("d")


class MetricTable:
    def __init__(self) -> None:
        self._series: defaultdict[str, _Series] = defaultdict(_Series)

    def add(self, name: str, step: int, time: float, value: float) -> None:
        series = self._series[name]
        series.steps.append(step)
        series.times.append(time)
        series.values.append(value)

    def points(self) -> Iterator[PointTuple]:
        """Each value keeps its time, so that the server recognizes it when the run has grown."""
        groups: defaultdict[tuple[bytes, bytes], dict[str, _Series]] = defaultdict(dict)
        for name, series in self._series.items():
            groups[series.steps.tobytes(), series.times.tobytes()][name] = series
        # Metrics with the same steps and times share their points.
        for group in groups.values():
            names, found = list(group), list(group.values())
            rows = zip(*(one.values for one in found), strict=True)
            for step, time, values in zip(found[0].steps, found[0].times, rows, strict=True):
                yield step, time, None, dict(zip(names, values, strict=True))
