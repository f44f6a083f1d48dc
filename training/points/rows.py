"""Points in memory, and why one cannot be stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from heimdall_sdk.messages import Value
from training.points.limits import (
    MAX_EPOCH,
    MAX_STEP,
    MAX_TIME,
    refuse_name,
    refuse_point,
    refuse_value,
)

_FIELDS = frozenset({"step", "time", "epoch", "values"})


class PointLike(Protocol):
    """A point: `heimdall_sdk.messages.Point`, or the faster `Row`."""

    @property
    def step(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def epoch(self) -> int | None: ...
    @property
    def values(self) -> Mapping[str, Value]: ...


class Row(NamedTuple):
    step: int
    time: float
    epoch: int | None
    values: Mapping[str, Value]


class InvalidPointError(ValueError):
    """The point cannot be stored; the message is a sentence for its sender."""


class PointReader:
    """Validates the points of one batch; a name is validated once."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def read_all(self, points: Iterable[object]) -> tuple[dict[int, Row], dict[int, str]]:
        """The valid ones of points in JSON, by position, and why the others are not."""
        valid: dict[int, Row] = {}
        invalid: dict[int, str] = {}
        names = self._names
        for position, point in enumerate(points):
            # Nearly all points are of this form, whose check takes a microsecond.
            if type(point) is dict and "step" in point and "time" in point:
                step, time, values = point["step"], point["time"], point.get("values")
                epoch = point.get("epoch")
                if (
                    type(step) is int
                    and 0 <= step <= MAX_STEP
                    and type(time) is float
                    and -MAX_TIME <= time <= MAX_TIME
                    and type(values) is dict
                    and values
                    and len(point) == (3 if epoch is None else 4)
                    and (epoch is None or (type(epoch) is int and 0 <= epoch <= MAX_EPOCH))
                ):
                    for name, value in values.items():
                        # An integer of JSON has at most 64 bits.
                        if name not in names or (
                            type(value) is not float and type(value) is not int
                        ):
                            break
                    else:
                        valid[position] = Row(step, time, epoch, values)
                        continue
            try:
                valid[position] = self.read(point)
            except InvalidPointError as error:
                invalid[position] = str(error)
        return valid, invalid

    def read(self, point: object) -> Row:
        """The point from its JSON, or InvalidPointError."""
        if not isinstance(point, dict):
            raise InvalidPointError("A point is an object with step, time and values.")
        step, epoch = point.get("step"), point.get("epoch")
        if unknown := point.keys() - _FIELDS:
            raise InvalidPointError(f"Unknown field {min(unknown)!r}; a point has step, time, "
                                    "epoch and values.")  # fmt: skip
        if type(step) is float and step.is_integer():
            step = int(step)
        if type(epoch) is float and epoch.is_integer():
            epoch = int(epoch)
        row = Row(step, point.get("time"), epoch, point.get("values"))  # type: ignore[arg-type]
        self.check(row)
        return row

    def check(self, point: PointLike) -> None:
        """Raise InvalidPointError unless the point can be stored."""
        step, time, epoch, values = point.step, point.time, point.epoch, point.values
        if reason := refuse_point(step, time, epoch, values):
            raise InvalidPointError(reason)
        names = self._names
        for name, value in values.items():
            if name not in names:
                if reason := refuse_name(name):
                    raise InvalidPointError(reason)
                names.add(name)
            if type(value) is not float and (reason := refuse_value(name, value)):
                raise InvalidPointError(reason)
