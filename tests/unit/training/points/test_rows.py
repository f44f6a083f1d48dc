from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.points.rows import InvalidPointError, PointReader, Row

numbers = (
    st.integers(-3, 3)
    | st.floats()
    | st.sampled_from([2**53, 2**31, 1e16, -1e300, True, None, "NaN", "x"])
)
points = st.fixed_dictionaries(
    {},
    optional={
        "step": numbers,
        "time": numbers,
        "epoch": numbers,
        "values": st.dictionaries(st.sampled_from(["a", "b", "", "a\n"]), numbers) | st.none(),
        "other": st.none(),
    },
)
on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read_one_by_one(found: list[Any]) -> tuple[dict[int, Row], dict[int, str]]:
    valid, invalid = {}, {}
    for position, point in enumerate(found):
        try:
            valid[position] = PointReader().read(point)
        except InvalidPointError as error:
            invalid[position] = str(error)
    return valid, invalid


@on_a_busy_machine
@given(st.lists(points | st.none(), max_size=8))
def test_batch_is_read_the_same_as_its_single_points(found: list[Any]) -> None:
    # NaN does not equal itself.
    assert repr(PointReader().read_all(found)) == repr(read_one_by_one(found))


def test_fast_path_for_usual_points_reads_the_same_values() -> None:
    usual = {"step": 1, "time": 1.0, "values": {"a": 1.0}}
    with_epoch = {"step": 2, "time": 1.0, "epoch": 3, "values": {"a": 2}}
    valid, invalid = PointReader().read_all([usual, with_epoch, {**usual, "step": -1}])
    assert valid == {0: Row(1, 1.0, None, {"a": 1.0}), 1: Row(2, 1.0, 3, {"a": 2})}
    assert "step is -1" in invalid[2]


def test_time_that_no_clock_shows_is_refused() -> None:
    """In milliseconds it would not fit into 64 bits: reading the run by MLflow failed."""
    usual = {"step": 1, "time": 1e300, "values": {"a": 1.0}}
    valid, invalid = PointReader().read_all(
        [usual, {**usual, "time": 1_795_000_000_123_456_789e-3}]
    )
    assert invalid == {0: "time is 1e+300, not seconds since 1970 as a number up to 9e+15."}
    assert list(valid) == [1]
