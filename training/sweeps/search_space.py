"""What a sweep varies, and the next point to try: grid, random, or TPE.

The points of random and TPE are optuna's, from the seed and the trial's number; TPE is the
tree-structured Parzen estimator of Bergstra et al., "Algorithms for Hyper-Parameter Optimization"
(2011). Nothing is kept between two calls: what is known of earlier trials is handed in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from training.programs.registry import get_program
from training.validation import InvalidInputError, validate

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Space = Mapping[str, Mapping[str, Any]]
Point = dict[str, Any]
MAX_TRIALS = 1000
# A point that the rules over several fields forbid is drawn afresh, so many times.
DRAWS = 100


@dataclass(frozen=True, slots=True)
class TrialResult:
    """An earlier trial: its point, the best value so far, and whether that is all."""

    point: Point
    value: float | None
    epoch: int
    state: str  # completed, stopped (early), running


def choices(options: Mapping[str, Any]) -> list[Any] | None:
    """Every value of a field, or None where there are no end of them."""
    if "values" in options:
        return list(options["values"])
    step = options.get("step")
    if step is None:
        return None
    count = math.floor((options["max"] - options["min"]) / step + 1e-9) + 1
    found = [options["min"] + index * step for index in range(count)]
    return found if all(isinstance(one, int) for one in found) else [round(x, 12) for x in found]


def grid(space: Space) -> Iterator[Point]:
    """Every combination, the last field changing quickest."""
    columns = [choices(options) or [] for options in space.values()]
    for values in itertools.product(*columns):
        yield dict(zip(space, values, strict=True))


def grid_size(space: Space) -> int:
    return math.prod(len(choices(options) or []) for options in space.values())


def with_point(base: Mapping[str, Any], point: Point) -> BaseModel:
    """The base with the point's values; BadConfig where they do not go together."""
    return validate(get_program().parameters, {**base, **point})


def suggest(
    method: str, space: Space, base: Mapping[str, Any], seed: int, trial: int,
    tried: Sequence[TrialResult] = (),
) -> Point:  # fmt: skip
    """The point of trial 1, 2, ...; BadConfig where no combination that is drawn makes sense."""
    if method == "grid":
        return next(itertools.islice(grid(space), trial - 1, None))
    refusal = InvalidInputError({})
    for draw in range(DRAWS):
        point = _sample(method, space, (seed * 1_000_003 + trial * 101 + draw) % 2**32, tried)
        try:
            with_point(base, point)
        except InvalidInputError as error:
            refusal = error
        else:
            return point
    raise refusal


def _sample(method: str, space: Space, seed: int, tried: Sequence[TrialResult]) -> Point:
    # Here, so that only a process that draws loads it (22 MB, a tenth of a second).
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: optuna.samplers.BaseSampler
    if method == "tpe":
        sampler = optuna.samplers.TPESampler(seed=seed)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(sampler=sampler)
    distributions = {name: _distribution(name, options) for name, options in space.items()}
    if method == "tpe":
        study.add_trials([_frozen(one, distributions) for one in tried])
    return dict(study.ask(distributions).params)


def _distribution(name: str, options: Mapping[str, Any]) -> BaseDistribution:
    from optuna import distributions as kinds

    if "values" in options:
        return kinds.CategoricalDistribution(options["values"])
    low, high, step = options["min"], options["max"], options.get("step")
    log = bool(options.get("log"))
    if is_whole(name):
        return kinds.IntDistribution(low, high, log=log, step=step or 1)
    return kinds.FloatDistribution(low, high, log=log, step=step)


def is_whole(name: str) -> bool:
    return get_program().parameters.model_fields[name].annotation is int


def _frozen(one: TrialResult, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    """As optuna knows it; one that runs counts as poor, so that the next looks elsewhere."""
    from optuna.trial import TrialState, create_trial

    states = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
    done = one.value is not None and one.state == "completed"
    return create_trial(
        state=states.get(one.state, TrialState.RUNNING),
        value=one.value if done else None,
        params={name: one.point[name] for name in distributions},
        distributions=distributions,
        intermediate_values={} if one.value is None else {one.epoch: one.value},
    )
