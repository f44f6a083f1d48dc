"""When a trial is hopeless: rules over the best values that trials had by an epoch.

Smaller is better. What counts is the best epoch so far, whose weights would be kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

ETA = 3  # of so many trials at a rung one goes on
RULES = ("none", "median", "asha")


@dataclass(frozen=True, slots=True)
class TrialHistory:
    """How a trial went: the epochs with a new best value, and how far it came."""

    bests: Sequence[tuple[int, float]]
    reached: float  # infinite for one that is done: its best stands at every later epoch

    def by(self, epoch: int) -> float | None:
        """The best value up to this epoch; None where there is none, or it is not so far yet."""
        if self.reached < epoch:
            return None
        known = [value for at, value in self.bests if at <= epoch]
        return known[-1] if known else None


def should_prune(
    rule: str, warmup: int, least: int, mine: TrialHistory, others: Collection[TrialHistory]
) -> str | None:
    """Why this trial is to be stopped, in a sentence; None where it goes on."""
    epoch = int(mine.reached)
    if rule == "median" and epoch >= max(warmup, 1):
        return _median(epoch, least, mine, others)
    if rule == "asha" and (rung := rung_before(epoch, max(warmup, 1))):
        return _asha(rung, least, mine, others)
    return None


def rung_before(epoch: int, first: int) -> int | None:
    """The last of the epochs first, first x ETA, first x ETA^2, ... that is not after `epoch`."""
    if epoch < first:
        return None
    rung = first
    while rung * ETA <= epoch:
        rung *= ETA
    return rung


def _median(
    epoch: int, least: int, mine: TrialHistory, others: Collection[TrialHistory]
) -> str | None:
    """Worse than the median of the others at the same epoch.

    The median stopping rule of Golovin et al., "Google Vizier" (2017), over best values instead
    of running averages.
    """
    value, values = mine.by(epoch), _known(epoch, others)
    if value is None or len(values) < least or value <= (middle := median(values)):
        return None
    return (
        f"{value:.4g} at epoch {epoch} is worse than {middle:.4g}, "
        f"the median of {len(values)} others there."
    )


def _asha(
    rung: int, least: int, mine: TrialHistory, others: Collection[TrialHistory]
) -> str | None:
    """Not among the best third of those that came to this rung.

    Asynchronous successive halving, Li et al., "A System for Massively Parallel Hyperparameter
    Tuning" (2020), in the form that stops instead of promoting.
    """
    value, values = mine.by(rung), _known(rung, others)
    if value is None or len(values) < max(least, ETA - 1):
        return None
    kept = math.ceil((len(values) + 1) / ETA)
    place = 1 + sum(other < value for other in values)
    if place <= kept:
        return None
    return (
        f"{value:.4g} at epoch {rung} is number {place} of {len(values) + 1}; "
        f"the best {kept} go on."
    )


def _known(epoch: int, others: Collection[TrialHistory]) -> list[float]:
    return [value for other in others if (value := other.by(epoch)) is not None]
