"""The specification of a sweep and its validation: a sentence for each invalid field."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, cast
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, create_model

from training.jobs.config_limits import config_problem
from training.jobs.policy import QueuePolicy
from training.points.limits import MAX_NAME_LENGTH
from training.programs.manifest import ManifestError, Program
from training.programs.registry import DEFAULT_PROGRAM, UnknownProgramError, get_program
from training.sweeps.search_space import (
    MAX_TRIALS,
    Space,
    grid,
    grid_size,
    is_integer_field,
    suggest,
    with_point,
)
from training.text import Name
from training.validation import InvalidInputError, validate

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
DEFAULT_TRIALS = 20
RANGE_KEYS = {"min", "max", "log", "step"}


@cache
def _field_model(parameters: type[BaseModel]) -> type[BaseModel]:
    """Validates each field on its own; rules over several apply to complete points only."""
    fields: dict[str, Any] = {
        name: (info.annotation, info)
        for model in (parameters, QueuePolicy)
        for name, info in model.model_fields.items()
    }
    return cast(
        "type[BaseModel]", create_model("Fields", __config__=parameters.model_config, **fields)
    )


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

    name: Name = Field(min_length=1, max_length=200, title="Name", description="Shown in lists.")
    max_parallel: int = Field(
        2, ge=1, le=64, title="Parallel trials", description="Trials that run at the same time."
    )
    team: Name | None = Field(
        None,
        max_length=150,
        description="A team whose members can view and control the sweep and its trials; null: not "
        "shared.",
    )


class SweepSpec(SweepPatch):
    """A sweep to create: `space` is searched, `config` holds the fixed parameters."""

    program: str = Field(
        DEFAULT_PROGRAM, max_length=100, description="Its name, as in GET /programs."
    )
    dataset_id: UUID | None = Field(
        None, description="A ready dataset that you can access, if the program needs one."
    )
    project: Name | None = Field(
        None, max_length=200, description="ID or name of the project of its jobs."
    )
    config: dict[str, object] = Field(
        {}, description="Parameters and queue policy that all trials share."
    )
    space: dict[str, dict[str, object]] = Field(
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
    objective: str = Field(
        "",
        max_length=MAX_NAME_LENGTH,
        title="Objective",
        description="The metric that ranks trials, at each trial's best epoch: the program's "
        "objective or its headline metric. Empty: the objective.",
    )
    early_stopping: EarlyStopping = EarlyStopping.model_validate({})

    @property
    def parameters(self) -> dict[str, object]:
        return {
            name: value
            for name, value in self.config.items()
            if name not in QueuePolicy.model_fields
        }

    @property
    def policy(self) -> QueuePolicy:
        return QueuePolicy.model_validate(
            {name: self.config[name] for name in QueuePolicy.model_fields if name in self.config}
        )

    @property
    def search_space(self) -> Space:
        """`space`, once `validate_spec` has checked it."""
        return cast(Space, self.space)

    @property
    def total(self) -> int:
        if self.method == "grid":
            return min(grid_size(self.search_space), self.trials or MAX_TRIALS)
        return self.trials or DEFAULT_TRIALS


def validate_spec(sent: Mapping[str, object]) -> SweepSpec:
    spec = validate(SweepSpec, sent)
    program = _program(spec)
    errors: dict[str, list[str]] = {}
    try:
        validate(_field_model(program.parameters), spec.config)
    except InvalidInputError as error:
        errors.update(_prefixed("config", error))
    for name, options in spec.space.items():
        try:
            _check_field(program, name, options, spec.method)
        except InvalidInputError as error:
            errors.update(_prefixed(f"space.{name}", error))
    if errors:
        raise InvalidInputError(errors)
    if problem := config_problem(_largest_config(program, spec)):
        raise InvalidInputError({"config": [problem]})
    _check_combinations(program, spec)
    return spec.model_copy(update={"objective": _objective(program, spec)})


def _program(spec: SweepSpec) -> Program:
    try:
        program = get_program(spec.program)
    except (UnknownProgramError, ManifestError) as error:
        raise InvalidInputError({"program": [str(error)]}) from error
    if program.datasets and spec.dataset_id is None:
        raise InvalidInputError({"dataset_id": ["This field is required."]})
    if not program.datasets and spec.dataset_id is not None:
        raise InvalidInputError(
            {"dataset_id": [f"Program {program.name!r} does not use datasets."]}
        )
    return program


def _largest_config(program: Program, spec: SweepSpec) -> dict[str, Any]:
    """The parameters of the trial that has the longest value of each."""
    chosen = {
        name: max(options["values"], key=lambda value: len(orjson.dumps(value)))
        for name, options in spec.search_space.items()
        if "values" in options
    }
    fields = program.parameters.model_fields.items()
    defaults = {name: info.get_default(call_default_factory=False) for name, info in fields}
    plain = {name: one for name, one in defaults.items() if isinstance(one, str | int | float)}
    return {**plain, **spec.parameters, **chosen}


def _objective(program: Program, spec: SweepSpec) -> str:
    choices = program.objective_choices
    if not choices:
        sentence = f"Program {program.name!r} declares no objective to rank trials by."
        raise InvalidInputError({"objective": [sentence]})
    if spec.objective and spec.objective not in choices:
        known = " or ".join(map(repr, choices))
        raise InvalidInputError({"objective": [f"{spec.objective!r} is not one of {known}."]})
    return spec.objective or choices[0]


def _prefixed(prefix: str, error: InvalidInputError) -> dict[str, list[str]]:
    return {
        f"{prefix}.{name}" if name else prefix: sentences
        for name, sentences in error.errors.items()
    }


def _field_error(sentence: str) -> InvalidInputError:
    return InvalidInputError({"": [sentence]})


def _check_field(program: Program, name: str, options: Mapping[str, object], method: str) -> None:
    if name not in program.parameters.model_fields:
        known = ", ".join(program.parameters.model_fields)
        raise _field_error(f"Unknown parameter; the program has {known}.")
    if set(options) == {"values"}:
        values = options["values"]
        if not isinstance(values, list) or not values:
            raise _field_error('"values" must be a list of at least one value.')
        if len(values) > MAX_TRIALS:
            raise _field_error(f"Too many values ({len(values)}); at most {MAX_TRIALS} allowed.")
        if len({repr(value) for value in values}) < len(values):
            raise _field_error("A value occurs twice; list each value once.")
    elif {"min", "max"} <= set(options) <= RANGE_KEYS:
        _check_range(program, name, options)
        values = [options["min"], options["max"]]
        if method == "grid" and "step" not in options:
            raise _field_error('A grid search needs "values", or a range with a "step".')
    else:
        raise _field_error(
            'Use {"values": [...]} or {"min": ..., "max": ...}, optionally with "log" or "step".'
        )
    for value in values:
        _check_value(program, name, value)


def _check_range(program: Program, name: str, options: Mapping[str, object]) -> None:
    integer = is_integer_field(program.parameters, name)
    if not integer and program.parameters.model_fields[name].annotation is not float:
        raise _field_error('Only numeric parameters can have a range; use {"values": [...]}.')
    numbers: dict[str, float] = {}
    for bound in ("min", "max", "step"):
        number = options.get(bound, 1)
        if isinstance(number, bool) or not isinstance(number, (int,) if integer else (int, float)):
            raise _field_error(
                f'"{bound}" must be {"a whole" if integer else "a"} number, not {number!r}.'
            )
        numbers[bound] = number
    for bound in ("min", "max"):
        _check_value(program, name, options[bound])  # before arithmetic, which could overflow
    low, high, step = numbers.values()
    _check_order(low, high, step if "step" in options else None)
    if not isinstance(options.get("log", False), bool):
        raise _field_error('"log" must be true or false.')
    if options.get("log") and ("step" in options or low <= 0):
        raise _field_error('"log" needs a "min" greater than 0 and no "step".')


def _check_order(low: float, high: float, step: float | None) -> None:
    if low >= high:
        raise _field_error(f'"min" ({low}) must be less than "max" ({high}).')
    if step is None:
        return
    if not 0 < step <= high - low:
        raise _field_error(
            '"step" must be greater than 0, and at most the difference of "max" and "min".'
        )
    if (high - low) / step > MAX_TRIALS:
        raise _field_error(f'"step" gives more than {MAX_TRIALS} values; use a larger one.')


def _check_value(program: Program, name: str, value: object) -> None:
    try:
        validate(_field_model(program.parameters), {name: value})
    except InvalidInputError as error:
        raise _field_error(" ".join(error.errors[name])) from None


def _check_combinations(program: Program, spec: SweepSpec) -> None:
    space = spec.search_space
    if spec.method == "grid" and grid_size(space) > MAX_TRIALS and spec.trials is None:
        raise InvalidInputError(
            {"space": [f"The grid has {grid_size(space)} points; at most {MAX_TRIALS} allowed."]}
        )
    try:
        if spec.method == "grid":
            for point in itertools.islice(grid(space), spec.total):
                with_point(program.parameters, spec.parameters, point)
        else:
            suggest(program.parameters, spec.method, space, spec.parameters, spec.seed, 1)
    except InvalidInputError as error:
        sentences = [f"{name}: {' '.join(found)}" for name, found in error.errors.items()]
        raise InvalidInputError({"space": sentences}) from None
