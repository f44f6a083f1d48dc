"""What a sweep is asked to do, checked at the door: a sentence for each wrong field."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model

from training.jobs.policy import QueuePolicy
from training.programs.registry import get_program
from training.sweeps.search_space import MAX_TRIALS, grid, grid_size, is_whole, suggest, with_point
from training.validation import InvalidInputError, validate

# Each field by itself: the rules over several come when a point is put together.
_PARAMETERS = get_program().parameters
_EACH: dict[str, Any] = {
    name: (info.annotation, info)
    for model in (_PARAMETERS, QueuePolicy)
    for name, info in model.model_fields.items()
}
_FIELDS = create_model("Fields", __config__=_PARAMETERS.model_config, **_EACH)
_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
DEFAULT_TRIALS = 20
RANGE = {"min", "max", "log", "step"}


class EarlyStopping(BaseModel):
    """When a trial that cannot win any more is stopped."""

    model_config = _STRICT

    rule: Literal["none", "median", "asha"] = Field(
        "median",
        title="Stop the hopeless",
        description="median: worse than the median of the others at the same epoch; asha: not "
        "among the best third at epochs W, 3 W, 9 W of a warm-up of W; none: never.",
    )
    warmup_epochs: int = Field(
        10, ge=1, le=100_000, title="Warm-up", description="Epochs in which nothing is stopped."
    )
    min_trials: int = Field(
        3,
        ge=1,
        le=1000,
        title="Compared with",
        description="So many others must have come as far before one is stopped.",
    )


class SweepPatch(BaseModel):
    """What of a sweep may be changed at any time."""

    model_config = _STRICT

    name: str = Field(min_length=1, max_length=200, title="Name", description="Shown in lists.")
    max_parallel: int = Field(
        2, ge=1, le=64, title="At once", description="Trainings of this sweep at the same time."
    )


class SweepSpec(SweepPatch):
    """A sweep to start; `space` names what to vary, `config` holds the rest."""

    dataset_id: UUID = Field(description="A dataset of yours that is ready.")
    config: dict[str, Any] = Field({}, description="Hyper-parameters that all trials share.")
    space: dict[str, dict[str, Any]] = Field(
        min_length=1,
        description='By field: {"values": [...]} or {"min", "max", "log", "step"}.',
    )
    method: Literal["grid", "random", "tpe"] = Field(
        "random",
        title="Search",
        description="grid: every combination; random: drawn evenly; tpe: drawn where earlier "
        "trials were good (tree-structured Parzen estimator).",
    )
    trials: int | None = Field(
        None,
        ge=1,
        le=MAX_TRIALS,
        title="Trials",
        description=f"How many to try; empty: all of a grid, else {DEFAULT_TRIALS}.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Seed of the search", description="The same seed, the same "
        "points (with tpe: as far as the trials end in the same order).",
    )  # fmt: skip
    objective: Literal["val_loss", "val_rmse"] = Field(
        "val_loss",
        title="Best by",
        description="Of each trial's best epoch (the one with the least val_loss).",
    )
    early_stopping: EarlyStopping = EarlyStopping.model_validate({})

    @property
    def parameters(self) -> dict[str, Any]:
        """The hyper-parameters in `config`."""
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
        """How many trials there will be."""
        if self.method == "grid":
            return min(grid_size(self.space), self.trials or MAX_TRIALS)
        return self.trials or DEFAULT_TRIALS


def validate_spec(sent: Mapping[str, Any]) -> SweepSpec:
    """The plan, with base and space as a training would have them; BadConfig says what is wrong."""
    plan = validate(SweepSpec, sent)
    errors: dict[str, list[str]] = {}
    try:
        validate(_FIELDS, plan.config)
    except InvalidInputError as error:
        errors.update(_under("config", error))
    for name, options in plan.space.items():
        try:
            _check_field(name, options, plan.method)
        except InvalidInputError as error:
            errors.update(_under(f"space.{name}", error))
    if errors:
        raise InvalidInputError(errors)
    _check_whole(plan)
    return plan


def _under(prefix: str, error: InvalidInputError) -> dict[str, list[str]]:
    return {
        f"{prefix}.{name}" if name else prefix: messages for name, messages in error.errors.items()
    }


def _wrong(sentence: str) -> InvalidInputError:
    return InvalidInputError({"": [sentence]})


def _check_field(name: str, options: dict[str, Any], method: str) -> None:
    """Whether the field exists, and each value or both ends are such that it takes them."""
    if name not in _PARAMETERS.model_fields:
        known = ", ".join(_PARAMETERS.model_fields)
        raise _wrong(f"Unknown field; a training has {known}.")
    if set(options) == {"values"}:
        values = options["values"]
        if not isinstance(values, list) or not values:
            raise _wrong('"values" is a list of at least one value.')
        if len(values) > MAX_TRIALS:
            raise _wrong(f"At most {MAX_TRIALS} values.")
        if len({repr(value) for value in values}) < len(values):
            raise _wrong("A value is named twice.")
    elif {"min", "max"} <= set(options) <= RANGE:
        _check_range(name, options)
        values = [options["min"], options["max"]]
        if method == "grid" and "step" not in options:
            raise _wrong('A grid needs "values", or a "step" in the range.')
    else:
        raise _wrong('Write {"values": [...]} or {"min": ..., "max": ...} with "log" or "step".')
    for value in values:
        _check_value(name, value)


def _check_range(name: str, options: dict[str, Any]) -> None:
    whole = is_whole(name)
    if not whole and _PARAMETERS.model_fields[name].annotation is not float:
        raise _wrong('Only numbers have a range; write {"values": [...]}.')
    for bound in ("min", "max", "step"):
        number = options.get(bound, 1)
        if isinstance(number, bool) or not isinstance(number, int if whole else int | float):
            raise _wrong(f'"{bound}" is not a {"whole " if whole else ""}number: {number!r}.')
    if options["min"] >= options["max"]:
        raise _wrong(f'"min" ({options["min"]}) is not below "max" ({options["max"]}).')
    if options.get("step", 1) <= 0:
        raise _wrong('"step" is not above 0.')
    if "step" in options and (options["max"] - options["min"]) / options["step"] > MAX_TRIALS:
        raise _wrong(f'"step" makes more than {MAX_TRIALS} values.')
    if not isinstance(options.get("log", False), bool):
        raise _wrong('"log" is true or false.')
    if options.get("log") and ("step" in options or options["min"] <= 0):
        raise _wrong('"log" goes with a "min" above 0 and without "step".')


def _check_value(name: str, value: Any) -> None:
    try:
        validate(_FIELDS, {name: value})
    except InvalidInputError as error:
        raise _wrong(" ".join(error.errors[name])) from None


def _check_whole(plan: SweepSpec) -> None:
    """What only shows when fields meet, and how many trials that makes."""
    if plan.method == "grid" and grid_size(plan.space) > MAX_TRIALS and plan.trials is None:
        raise InvalidInputError(
            {"space": [f"The grid has {grid_size(plan.space)} points; at most {MAX_TRIALS}."]}
        )
    try:
        if plan.method == "grid":
            for point in itertools.islice(grid(plan.space), plan.total):
                with_point(plan.parameters, point)
        else:
            suggest(plan.method, plan.space, plan.parameters, plan.seed, 1)
    except InvalidInputError as error:
        problems = [f"{name}: {' '.join(messages)}" for name, messages in error.errors.items()]
        raise InvalidInputError({"space": problems}) from None
