"""A program that the operator has installed: the folder NAME with its program.toml."""

from __future__ import annotations

import keyword
import re
import tomllib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from heimdall_sdk.messages import Objective
from training.programs import command
from training.programs.charts import group_into_charts
from training.programs.manifest import ManifestError, Needs, Preset, Program, TensorBoard
from training.programs.metrics import Chart, Direction, Format, Metric, MetricRegistry
from training.validation import InvalidInputError, validate

FILE = "program.toml"
# Also a part of URLs, and of paths under the data directory.
PROGRAM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
# Fields of a job, which forms show together with the parameters.
RESERVED = {
    "dataset", "dataset_id", "init_from", "job_directory", "name", "needs", "notes", "parameters",
    "priority", "processes", "program", "project", "run_directory", "tags", "team",
}  # fmt: skip
_STRICT = ConfigDict(extra="forbid", frozen=True)


class _Parameter(BaseModel):
    """A subset of JSON Schema."""

    model_config = _STRICT

    type: Literal["integer", "number", "string", "boolean"] | None = None
    enum: list[str] | list[int] | list[float] | None = Field(None, min_length=1)
    default: bool | int | float | str | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusiveMinimum: float | None = None  # noqa: N815 (the names of JSON Schema)
    exclusiveMaximum: float | None = None  # noqa: N815
    maxLength: int | None = None  # noqa: N815
    title: str | None = None
    description: str | None = None
    main: bool = False  # shown above the further parameters of the form


class _Metric(BaseModel):
    model_config = _STRICT

    title: str = ""
    short_title: str = ""
    description: str = ""
    unit: str = ""
    direction: Direction | None = None
    format: Format = "number"
    digits: int = Field(4, ge=2, le=12)


class _Chart(BaseModel):
    model_config = _STRICT

    title: str
    metrics: list[str] = Field(min_length=1)
    logarithmic: bool = False


class _Objective(BaseModel):
    model_config = _STRICT

    metric: str
    direction: Direction = "minimize"


class _Preset(BaseModel):
    model_config = _STRICT

    title: str
    description: str = ""
    values: dict[str, Any] = {}


class _Manifest(BaseModel):
    model_config = _STRICT

    title: str = Field(min_length=1, max_length=200)
    description: str = ""
    command: list[str] = Field(min_length=1)
    python: str = ""
    needs: Needs = "auto"
    resumable: bool = False
    tensorboard: TensorBoard = "steps"
    objective: _Objective | None = None
    headline: str = ""
    parameters: dict[str, _Parameter] = {}
    metrics: dict[str, _Metric] = {}
    charts: dict[str, _Chart] = {}
    presets: dict[str, _Preset] = {}


def load_program(folder: Path) -> Program:
    """Read `folder`/program.toml; raise ManifestError with the file, the field and the reason."""
    path = folder / FILE
    if not PROGRAM_NAME.fullmatch(folder.name):
        raise ManifestError(
            f"{folder}: the folder's name is the program's name; use lower-case letters, digits, "
            "- and _, at most 100."
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not valid TOML: {error}.") from error
    try:
        return _program(folder, validate(_Manifest, content))
    except InvalidInputError as error:
        raise ManifestError(f"{path}: {error}") from error
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def _program(folder: Path, manifest: _Manifest) -> Program:
    _check_command(manifest)
    names = dict.fromkeys(manifest.metrics)
    if manifest.objective:
        names.setdefault(manifest.objective.metric)
    metrics = MetricRegistry(*(_metric(name, manifest) for name in names))
    return Program(
        name=folder.name,
        title=manifest.title,
        description=manifest.description,
        command=tuple(manifest.command),
        python=_interpreter(folder, manifest.python),
        folder=folder,
        parameters=parameter_model(folder.name, manifest.parameters),
        metrics=metrics,
        objective=Objective(**manifest.objective.model_dump()) if manifest.objective else None,
        headline=manifest.headline,
        charts=_charts(manifest, names),
        table=tuple(names),
        figures=tuple(names)[:3],
        main_parameters=_main_parameters(manifest),
        presets=tuple(
            Preset(name, preset.title, preset.description, preset.values)
            for name, preset in manifest.presets.items()
        ),
        needs=manifest.needs,
        resumable=manifest.resumable,
        tensorboard=manifest.tensorboard,
    )


def _check_command(manifest: _Manifest) -> None:
    texts = [name for name, one in manifest.parameters.items() if one.type == "string"]
    if problem := command.problem(manifest.command, manifest.parameters, texts):
        raise ManifestError(f"command: {problem}")


def _charts(manifest: _Manifest, names: Iterable[str]) -> tuple[Chart, ...]:
    """The charts of the manifest, and one for each group of metrics that they leave out."""
    declared = [
        Chart(
            name=name,
            title=chart.title,
            metrics=tuple(chart.metrics),
            logarithmic=chart.logarithmic,
        )
        for name, chart in manifest.charts.items()
    ]
    drawn = {name for chart in declared for name in chart.metrics}
    left = [name for name in names if name not in drawn]
    return (*declared, *group_into_charts(left))


def _metric(name: str, manifest: _Manifest) -> Metric:
    declared = manifest.metrics.get(name, _Metric())
    objective = manifest.objective
    direction = declared.direction
    if objective and objective.metric == name:
        if direction and direction != objective.direction:
            raise ManifestError(
                f"metrics.{name}.direction: {direction!r}, but the objective says "
                f"{objective.direction!r}."
            )
        direction = objective.direction
    values = declared.model_dump() | {"title": declared.title or name, "direction": direction}
    return Metric(name=name, **values)


def _interpreter(folder: Path, python: str) -> str:
    """The interpreter of the program's own environment; relative paths start at the folder."""
    if not python:
        return ""
    path = folder / python  # an absolute path stays as it is
    if not path.is_file():
        raise ManifestError(
            f"python: {str(path)!r} does not exist; create the environment, or remove the line to "
            "use the worker's."
        )
    return str(path)


def _main_parameters(manifest: _Manifest) -> tuple[str, ...]:
    chosen = [name for name, parameter in manifest.parameters.items() if parameter.main]
    return tuple(chosen or list(manifest.parameters)[:6])


def parameter_model(name: str, parameters: dict[str, _Parameter]) -> type[BaseModel]:
    """The pydantic model that validates these parameters; raise ManifestError naming one."""
    fields: dict[str, Any] = {}
    for parameter_name, parameter in parameters.items():
        if not parameter_name.isidentifier() or keyword.iskeyword(parameter_name):
            raise ManifestError(
                f"parameters.{parameter_name}: not a valid name; use letters, digits and _."
            )
        if parameter_name in RESERVED or parameter_name.startswith("_"):
            raise ManifestError(
                f"parameters.{parameter_name}: this name is reserved; choose another."
            )
        fields[parameter_name] = _field(parameter_name, parameter)
    config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
    with warnings.catch_warnings():
        # A parameter may have the name of a method of pydantic's, such as `copy`.
        warnings.simplefilter("ignore", UserWarning)
        model = create_model(
            f"{name.title().replace('-', '')}Parameters", __config__=config, **fields
        )
    _check_defaults(model, parameters)
    return cast("type[BaseModel]", model)


_TYPES: dict[str, type] = {"integer": int, "number": float, "string": str, "boolean": bool}


def _field(name: str, parameter: _Parameter) -> tuple[Any, Any]:
    bounds = {
        "ge": parameter.minimum,
        "le": parameter.maximum,
        "gt": parameter.exclusiveMinimum,
        "lt": parameter.exclusiveMaximum,
    }
    given: dict[str, Any] = {key: value for key, value in bounds.items() if value is not None}
    kind: Any
    if parameter.enum is not None:
        if parameter.type or given:
            raise ManifestError(f"parameters.{name}: has an enum, so it needs no type or bounds.")
        kind = Literal[tuple(parameter.enum)]
    elif parameter.type is None:
        raise ManifestError(f"parameters.{name}: needs a type ({', '.join(_TYPES)}) or an enum.")
    else:
        kind = _TYPES[parameter.type]
        if given and parameter.type not in ("integer", "number"):
            raise ManifestError(f"parameters.{name}: a {parameter.type} has no minimum or maximum.")
        if parameter.type == "integer":
            given = {key: int(value) for key, value in given.items()}
    if parameter.type == "string":
        given["max_length"] = parameter.maxLength or 1000
    return kind, Field(
        ... if parameter.default is None else parameter.default,
        title=parameter.title or name.replace("_", " ").capitalize(),
        description=parameter.description,
        **given,
    )


def _check_defaults(model: type[BaseModel], parameters: dict[str, _Parameter]) -> None:
    for name, parameter in parameters.items():
        if parameter.default is None:
            continue
        single = create_model(
            "Default", **{name: (model.model_fields[name].annotation, model.model_fields[name])}
        )  # type: ignore[call-overload]
        try:
            validate(single, {name: parameter.default})
        except InvalidInputError as error:
            raise ManifestError(
                f"parameters.{name}.default: {' '.join(error.errors[name])}"
            ) from error
