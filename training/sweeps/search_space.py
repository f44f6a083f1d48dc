"""The next point of a search space: grid, random, or TPE.

Random points and TPE come from Optuna, seeded by the sweep's seed and the trial number. TPE is the
tree-structured Parzen estimator of Bergstra et al., "Algorithms for Hyper-Parameter Optimization"
(2011). No state is kept between calls: the caller passes the results of earlier trials.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict, final

from pydantic import BaseModel

from training.programs.metrics import Direction
from training.validation import InvalidInputError, validate

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

ParameterValue = bool | int | float | str | None


@final
class Choices(TypedDict):
    values: list[ParameterValue]


@final
class Range(TypedDict):
    """From `min` to `max`, both included; whole numbers if the parameter is one."""

    min: float
    max: float
    log: NotRequired[bool]
    step: NotRequired[float]


FieldSpace = Choices | Range
Space = Mapping[str, FieldSpace]
Point = dict[str, ParameterValue]
MAX_TRIALS = 1000
# A point that violates a rule over several fields is replaced by a new one, at most so often.
MAX_DRAWS = 100


@dataclass(frozen=True, slots=True)
class TrialResult:
    """An earlier trial. `value` is its best so far, reached at `epoch`."""

    point: Point
    value: float | None
    epoch: int
    state: Literal["completed", "pruned", "running"]


def list_values(options: FieldSpace) -> Sequence[ParameterValue] | None:
    """Every value of a field; None for a range without a step."""
    if "values" in options:
        return list(options["values"])
    step = options.get("step")
    if step is None:
        return None
    count = math.floor((options["max"] - options["min"]) / step + 1e-9) + 1
    values = [options["min"] + index * step for index in range(count)]
    if all(isinstance(value, int) for value in values):
        return values
    return [round(value, 12) for value in values]


def grid(space: Space) -> Iterator[Point]:
    """Every combination; the last field changes fastest."""
    columns = [list_values(options) or [] for options in space.values()]
    for values in itertools.product(*columns):
        yield dict(zip(space, values, strict=True))


def grid_size(space: Space) -> int:
    return math.prod(len(list_values(options) or []) for options in space.values())


def with_point(parameters: type[BaseModel], base: Mapping[str, object], point: Point) -> BaseModel:
    return validate(parameters, {**base, **point})


def suggest(
    parameters: type[BaseModel],
    method: str,
    space: Space,
    base: Mapping[str, object],
    seed: int,
    trial: int,
    results: Sequence[TrialResult] = (),
    direction: Direction = "minimize",
) -> Point:
    """The point of trial 1, 2, ...; raises InvalidInputError if no drawn point is valid."""
    if method == "grid":
        return next(itertools.islice(grid(space), trial - 1, None))
    last_error = InvalidInputError({})
    for draw in range(MAX_DRAWS):
        draw_seed = (seed * 1_000_003 + trial * 101 + draw) % 2**32
        point = _sample(parameters, method, space, draw_seed, results, direction)
        try:
            with_point(parameters, base, point)
        except InvalidInputError as error:
            last_error = error
        else:
            return point
    raise last_error


def _sample(
    parameters: type[BaseModel],
    method: str,
    space: Space,
    seed: int,
    results: Sequence[TrialResult],
    direction: Direction,
) -> Point:
    # Imported here, so that only a process that samples loads it (22 MB, 0.1 s).
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: optuna.samplers.BaseSampler
    if method == "tpe":
        sampler = optuna.samplers.TPESampler(seed=seed)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(sampler=sampler, direction=direction)
    distributions = {
        name: _distribution(options, is_integer_field(parameters, name))
        for name, options in space.items()
    }
    if method == "tpe":
        study.add_trials([_frozen_trial(result, distributions) for result in results])
    return dict(study.ask(distributions).params)


def _distribution(options: FieldSpace, is_integer: bool) -> BaseDistribution:
    from optuna import distributions

    if "values" in options:
        return distributions.CategoricalDistribution(options["values"])
    low, high, step = options["min"], options["max"], options.get("step")
    log = bool(options.get("log"))
    if is_integer:
        return distributions.IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return distributions.FloatDistribution(low, high, log=log, step=step)


def is_integer_field(parameters: type[BaseModel], name: str) -> bool:
    return parameters.model_fields[name].annotation is int


def _frozen_trial(
    result: TrialResult, distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    """The result as an Optuna trial. Optuna avoids points near running trials."""
    from optuna.trial import TrialState, create_trial

    states = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    has_final_value = result.value is not None and result.state == "completed"
    return create_trial(
        state=states.get(result.state, TrialState.RUNNING),
        value=result.value if has_final_value else None,
        params={name: result.point[name] for name in distributions},
        distributions=dict(distributions),
        intermediate_values={} if result.value is None else {result.epoch: result.value},
    )
