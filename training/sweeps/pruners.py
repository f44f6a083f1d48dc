"""Early-stopping rules, which compare the best values that trials reached by an epoch.

A trial is judged by its best epoch so far, because that checkpoint is kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

from training.programs.metrics import Direction

ETA = 3  # reduction factor: one in ETA trials continues beyond a rung


@dataclass(frozen=True, slots=True)
class TrialHistory:
    """A trial's progress: `bests` lists (epoch, value) of each new best value."""

    bests: Sequence[tuple[int, float]]
    # The last epoch; infinite for a completed trial, whose best counts at every later epoch.
    reached: float

    def best_by(self, epoch: int) -> float | None:
        """The best value up to this epoch; None without one, or before reaching the epoch."""
        if self.reached < epoch:
            return None
        values = [value for at, value in self.bests if at <= epoch]
        return values[-1] if values else None


def should_prune(
    rule: str,
    n_warmup_steps: int,
    n_startup_trials: int,
    history: TrialHistory,
    others: Collection[TrialHistory],
    direction: Direction = "minimize",
) -> str | None:
    """The reason to stop this trial, as a sentence; None to continue."""
    epoch = int(history.reached)
    if rule == "median" and epoch >= max(n_warmup_steps, 1):
        return _median(epoch, n_startup_trials, history, others, direction)
    if rule == "asha" and (rung := rung_before(epoch, max(n_warmup_steps, 1))):
        return _asha(rung, n_startup_trials, history, others, direction)
    return None


def rung_before(epoch: int, first: int) -> int | None:
    """The last of the epochs first, first x ETA, first x ETA^2, ... up to `epoch`, or None."""
    if epoch < first:
        return None
    rung = first
    while rung * ETA <= epoch:
        rung *= ETA
    return rung


def _median(
    epoch: int,
    n_startup_trials: int,
    history: TrialHistory,
    others: Collection[TrialHistory],
    direction: Direction,
) -> str | None:
    """Stop a trial worse than the median of the others at the same epoch.

    The median stopping rule of Golovin et al., "Google Vizier" (2017), over best values instead
    of running averages.
    """
    value, values = history.best_by(epoch), _best_values(epoch, others)
    if value is None or len(values) < n_startup_trials:
        return None
    middle = median(values)
    if not _is_better(middle, value, direction):
        return None
    return (
        f"{value:.4g} at epoch {epoch} is worse than {middle:.4g}, "
        f"the median of {len(values)} others."
    )


def _asha(
    rung: int,
    n_startup_trials: int,
    history: TrialHistory,
    others: Collection[TrialHistory],
    direction: Direction,
) -> str | None:
    """Stop a trial that is not in the best third of those that reached this rung.

    Asynchronous successive halving, Li et al., "A System for Massively Parallel Hyperparameter
    Tuning" (2020), in the form that stops instead of promoting.
    """
    value, values = history.best_by(rung), _best_values(rung, others)
    if value is None or len(values) < max(n_startup_trials, ETA - 1):
        return None
    kept = math.ceil((len(values) + 1) / ETA)
    place = 1 + sum(_is_better(other, value, direction) for other in values)
    if place <= kept:
        return None
    return (
        f"{value:.4g} at epoch {rung} is number {place} of {len(values) + 1}; "
        f"the best {kept} continue."
    )


def _is_better(value: float, than: float, direction: Direction) -> bool:
    return value < than if direction == "minimize" else value > than


def _best_values(epoch: int, others: Collection[TrialHistory]) -> list[float]:
    return [value for other in others if (value := other.best_by(epoch)) is not None]
