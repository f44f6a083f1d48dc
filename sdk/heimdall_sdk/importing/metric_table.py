"""Values of a run by metric, as points: values of one step and time are one point."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator

from heimdall_sdk.reporter import PointTuple


class _Series:
    """Compact: a run may have millions of values."""

    __slots__ = ("epochs", "steps", "times", "values")

    def __init__(self) -> None:
        self.steps, self.times, self.values = array("q"), array("d"), array("d")
        self.epochs = array("q")  # -1: none


class MetricTable:
    def __init__(self) -> None:
        self._series: defaultdict[str, _Series] = defaultdict(_Series)

    def add(
        self, name: str, step: int, time: float, value: float, epoch: int | None = None
    ) -> None:
        series = self._series[name]
        series.epochs.append(-1 if epoch is None else epoch)
        series.steps.append(step)
        series.times.append(time)
        series.values.append(value)

    def points(self) -> Iterator[PointTuple]:
        """Each value keeps its time, so that the server recognizes it when the run has grown."""
        groups: defaultdict[tuple[bytes, bytes, bytes], dict[str, _Series]] = defaultdict(dict)
        for name, series in self._series.items():
            steps, times = series.steps.tobytes(), series.times.tobytes()
            groups[steps, times, series.epochs.tobytes()][name] = series
        # Metrics with the same steps and times share their points.
        for group in groups.values():
            names, found = list(group), list(group.values())
            rows = zip(*(one.values for one in found), strict=True)
            one = found[0]
            for step, time, epoch, values in zip(
                one.steps, one.times, one.epochs, rows, strict=True
            ):
                known = None if epoch < 0 else epoch
                yield step, time, known, dict(zip(names, values, strict=True))
