from __future__ import annotations

import math

import pytest

from training.sweeps.pruners import TrialHistory, rung_before, should_prune


def flat(value: float, reached: float = math.inf) -> TrialHistory:
    return TrialHistory([(1, value)], reached)


def test_best_by_returns_the_best_so_far_or_none_beyond_the_last_epoch() -> None:
    history = TrialHistory([(1, 5.0), (4, 2.0)], 6)
    assert [history.best_by(epoch) for epoch in (1, 3, 4, 6, 7)] == [5.0, 5.0, 2.0, 2.0, None]
    assert TrialHistory([], 3).best_by(2) is None


def test_median_rule_stops_a_trial_worse_than_the_median() -> None:
    others = [flat(1.0), flat(2.0), flat(3.0)]
    reason = should_prune("median", 5, 3, flat(2.5, 12), others)
    assert reason == "2.5 at epoch 12 is worse than 2, the median of 3 others."
    assert should_prune("median", 5, 3, flat(2.0, 12), others) is None


def test_no_trial_is_stopped_during_warm_up_or_with_too_few_others() -> None:
    others = [flat(1.0), flat(1.0), flat(1.0, reached=8)]
    assert should_prune("median", 10, 2, flat(9.0, 9), others) is None
    assert should_prune("median", 5, 3, flat(9.0, 9), others) is None
    assert should_prune("median", 5, 2, flat(9.0, 9), others) is not None
    assert should_prune("none", 1, 1, flat(9.0, 9), others) is None


def test_median_rule_compares_trials_at_the_same_epoch() -> None:
    later = [TrialHistory([(1, 9.0), (50, 1.0)], math.inf)] * 3
    assert should_prune("median", 5, 3, flat(8.0, 20), later) is None
    assert should_prune("median", 5, 3, flat(8.0, 60), later) is not None


@pytest.mark.parametrize(
    ("epoch", "rung"), [(4, None), (5, 5), (14, 5), (15, 15), (44, 15), (45, 45)]
)
def test_rungs_are_powers_of_three_times_the_warm_up(epoch: int, rung: int | None) -> None:
    assert rung_before(epoch, 5) == rung


def test_asha_rule_continues_the_best_third_at_a_rung() -> None:
    others = [flat(float(value)) for value in range(1, 6)]
    assert should_prune("asha", 5, 3, flat(1.5, 6), others) is None
    reason = should_prune("asha", 5, 3, flat(2.5, 6), others)
    assert reason == "2.5 at epoch 5 is number 3 of 6; the best 2 continue."
    assert should_prune("asha", 5, 3, flat(9.0, 4), others) is None


@pytest.mark.parametrize("rule", ["median", "asha"])
def test_direction_maximize_stops_the_smaller_value(rule: str) -> None:
    others = [flat(1.0), flat(2.0), flat(3.0)]
    assert should_prune(rule, 5, 3, flat(9.0, 6), others, "maximize") is None
    assert should_prune(rule, 5, 3, flat(0.5, 6), others, "maximize") is not None
    assert should_prune(rule, 5, 3, flat(0.5, 6), others, "minimize") is None
