from __future__ import annotations

import pytest

from training.models.states import TRANSITIONS, Status, direct_sources, sources


def test_every_status_has_an_entry() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Status.PAUSED, {Status.QUEUED}),
        (Status.CANCELLED, {Status.QUEUED, Status.PAUSED}),
        (Status.QUEUED, {Status.PAUSED, Status.FAILED}),
        (Status.COMPLETED, set()),
    ],
)
def test_direct_sources_are_the_states_a_user_can_change(
    target: Status, expected: set[Status]
) -> None:
    assert direct_sources(target) == expected
    assert sources(target) - expected <= {Status.RUNNING}
