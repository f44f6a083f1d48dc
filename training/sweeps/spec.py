"""The specification of a sweep and its validation: a sentence for each invalid field."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model

from training.jobs.policy import QueuePolicy
from training.programs.registry import get_program
from training.sweeps.search_space import (
    MAX_TRIALS,
    grid,
    grid_size,
    is_integer_field,
    suggest,
    with_point,
)
from training.validation import InvalidInputError, validate

_PARAMETERS = get_program().parameters
# Validates each field on its own; rules over several fields apply to complete points only.
_FIELDS: dict[str, Any] = {
    name: (info.annotation, info)
    for model in (_PARAMETERS, QueuePolicy)
    for name, info in model.model_fields.items()
}
_FIELD_MODEL = create_model("Fields", __config__=_PARAMETERS.model_config, **_FIELDS)
_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
DEFAULT_TRIALS = 20
RANGE_KEYS = {"min", "max", "log", "step"}

if TYPE_CHECKING:
    ObjectiveName = str
else:  # the choices are part of the type, so that forms and the API schema list them
    ObjectiveName = Literal[get_program().objective_choices]


class EarlyStopping(BaseModel):
    """The rule that stops poor trials before their last epoch."""

    model_config = _STRICT

    rule: Literal["none", "median", "asha"] = Field(
        "median",
        title="Rule",
        description="median: worse than the median of the others at the same epoch; asha: not "
        "among the best third at epochs W, 3 W, 9 W of a warm-up of W; none: never.",
    )
    warmup_epochs: int = Field(
        10, ge=1, le=100_000, title="Warm-up", description="Epochs before a trial can be stopped."
    )
    min_trials: int = Field(
        3,
        ge=1,
        le=1000,
        title="Minimum trials",
        description="Trials that must reach an epoch before one can be stopped.",
    )


class SweepPatch(BaseModel):
    """The fields of a sweep that can be changed at any time."""

    model_config = _STRICT

    name: str = Field(min_length=1, max_length=200, title="Name", description="Shown in lists.")
    max_parallel: int = Field(
        2, ge=1, le=64, title="Parallel trials", description="Trials that run at the same time."
    )


class SweepSpec(SweepPatch):
    """A sweep to create: `space` is searched, `config` holds the fixed parameters."""

    dataset_id: UUID = Field(description="A ready dataset that you can access.")
    config: dict[str, Any] = Field(
        {}, description="Parameters and queue policy that all trials share."
    )
    space: dict[str, dict[str, Any]] = Field(
        min_length=1,
        description='By parameter: {"values": [...]} or {"min", "max", "log", "step"}.',
    )
    method: Literal["grid", "random", "tpe"] = Field(
        "random",
        title="Search",
        description="grid: every combination; random: uniform; tpe: Bayesian (tree-structured "
        "Parzen estimator).",
    )
    trials: int | None = Field(
        None,
        ge=1,
        le=MAX_TRIALS,
        title="Trials",
        description=f"Number of trials; empty: the whole grid, or {DEFAULT_TRIALS}.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        title="Search seed",
        description="The same seed gives the same points (with tpe: if the trials end in the same "
        "order).",
    )
    objective: ObjectiveName = Field(
        get_program().objective.metric,
        title="Objective",
        description="The metric that ranks trials, at each trial's best epoch by "
        f"{get_program().objective.metric}.",
    )
    early_stopping: EarlyStopping = EarlyStopping.model_validate({})

    @property
    def parameters(self) -> dict[str, Any]:
        """The hyperparameters in `config`."""
        return {
            name: value
            for name, value in self.config.items()
            if name not in QueuePolicy.model_fields
        }

    @property
    def policy(self) -> QueuePolicy:
        """The queue policy in `config`."""
        return QueuePolicy.model_validate(
            {name: self.config[name] for name in QueuePolicy.model_fields if name in self.config}
        )

    @property
    def total(self) -> int:
        if self.method == "grid":
            return min(grid_size(self.space), self.trials or MAX_TRIALS)
        return self.trials or DEFAULT_TRIALS


def validate_spec(sent: Mapping[str, Any]) -> SweepSpec:
    """The validated spec; raises InvalidInputError with a sentence for each invalid field."""
    spec = validate(SweepSpec, sent)
    errors: dict[str, list[str]] = {}
    try:
        validate(_FIELD_MODEL, spec.config)
    except InvalidInputError as error:
        errors.update(_prefixed("config", error))
    for name, options in spec.space.items():
        try:
            _check_field(name, options, spec.method)
        except InvalidInputError as error:
            errors.update(_prefixed(f"space.{name}", error))
    if errors:
        raise InvalidInputError(errors)
    _check_combinations(spec)
    return spec


def _prefixed(prefix: str, error: InvalidInputError) -> dict[str, list[str]]:
    return {
        f"{prefix}.{name}" if name else prefix: sentences
        for name, sentences in error.errors.items()
    }


def _field_error(sentence: str) -> InvalidInputError:
    return InvalidInputError({"": [sentence]})


def _check_field(name: str, options: dict[str, Any], method: str) -> None:
    """Raise InvalidInputError unless the field exists and accepts each value or both bounds."""
    if name not in _PARAMETERS.model_fields:
        known = ", ".join(_PARAMETERS.model_fields)
        raise _field_error(f"Unknown parameter; the program has {known}.")
    if set(options) == {"values"}:
        values = options["values"]
        if not isinstance(values, list) or not values:
            raise _field_error('"values" must be a list of at least one value.')
        if len(values) > MAX_TRIALS:
            raise _field_error(f"Too many values: {len(values)}; at most {MAX_TRIALS}.")
        if len({repr(value) for value in values}) < len(values):
            raise _field_error("A value occurs twice; list each value once.")
    elif {"min", "max"} <= set(options) <= RANGE_KEYS:
        _check_range(name, options)
        values = [options["min"], options["max"]]
        if method == "grid" and "step" not in options:
            raise _field_error('A grid search needs "values", or a range with a "step".')
    else:
        raise _field_error(
            'Use {"values": [...]} or {"min": ..., "max": ...}, optionally with "log" or "step".'
        )
    for value in values:
        _check_value(name, value)


def _check_range(name: str, options: dict[str, Any]) -> None:
    integer = is_integer_field(name)
    if not integer and _PARAMETERS.model_fields[name].annotation is not float:
        raise _field_error('Only numeric parameters can have a range; use {"values": [...]}.')
    for bound in ("min", "max", "step"):
        number = options.get(bound, 1)
        if isinstance(number, bool) or not isinstance(number, int if integer else int | float):
            raise _field_error(
                f'"{bound}" must be {"a whole" if integer else "a"} number, not {number!r}.'
            )
    if options["min"] >= options["max"]:
        raise _field_error(f'"min" ({options["min"]}) must be less than "max" ({options["max"]}).')
    if options.get("step", 1) <= 0:
        raise _field_error('"step" must be greater than 0.')
    if "step" in options and (options["max"] - options["min"]) / options["step"] > MAX_TRIALS:
        raise _field_error(f'"step" gives more than {MAX_TRIALS} values; use a larger one.')
    if not isinstance(options.get("log", False), bool):
        raise _field_error('"log" must be true or false.')
    if options.get("log") and ("step" in options or options["min"] <= 0):
        raise _field_error('"log" needs a "min" greater than 0 and no "step".')


def _check_value(name: str, value: Any) -> None:
    try:
        validate(_FIELD_MODEL, {name: value})
    except InvalidInputError as error:
        raise _field_error(" ".join(error.errors[name])) from None


def _check_combinations(spec: SweepSpec) -> None:
    """Check the rules over several fields, and the size of a grid."""
    if spec.method == "grid" and grid_size(spec.space) > MAX_TRIALS and spec.trials is None:
        raise InvalidInputError(
            {"space": [f"The grid has {grid_size(spec.space)} points; at most {MAX_TRIALS}."]}
        )
    try:
        if spec.method == "grid":
            for point in itertools.islice(grid(spec.space), spec.total):
                with_point(spec.parameters, point)
        else:
            suggest(spec.method, spec.space, spec.parameters, spec.seed, 1)
    except InvalidInputError as error:
        sentences = [f"{name}: {' '.join(found)}" for name, found in error.errors.items()]
        raise InvalidInputError({"space": sentences}) from None
