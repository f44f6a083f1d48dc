"""The body of POST /jobs: of the built-in program with flat fields, or of another program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from django.contrib.auth.models import User
from drf_spectacular.utils import PolymorphicProxySerializer
from pydantic import BaseModel, JsonValue

from training.api import query_params
from training.api.schemas import CreateJob, JobRequest, ProgramJobRequest
from training.jobs import origins
from training.models import Dataset
from training.programs.manifest import ManifestError, Program
from training.programs.registry import DEFAULT_PROGRAM, UnknownProgramError, get_program
from training.validation import InvalidInputError, validate

ANY_JOB = PolymorphicProxySerializer(
    component_name="CreateAnyJob",
    serializers=[CreateJob, ProgramJobRequest],  # type: ignore[list-item]
    resource_type_field_name=None,
)

Request = TypeVar("Request", bound=BaseModel)
Hints = Mapping[str, str]
_NOT_OF_THE_LOCALIZER = {
    "parameters": f"Unknown field; parameters of {DEFAULT_PROGRAM!r} are fields of the request.",
}


@dataclass(frozen=True, slots=True)
class NewJob:
    request: JobRequest | ProgramJobRequest
    parameters: BaseModel
    dataset: Dataset | None = None
    init_from: str = ""


def parse_new_job(user: User, data: Mapping[str, JsonValue]) -> NewJob:
    """Validate the body; raise InvalidInputError with a sentence for each invalid field."""
    name = data.get("program", DEFAULT_PROGRAM)
    if name == DEFAULT_PROGRAM:
        request = _validate(CreateJob, data, _NOT_OF_THE_LOCALIZER)
        dataset = query_params.usable_dataset(user, str(request.dataset_id))
        if request.init_from is None:
            return NewJob(request, request.parameters(), dataset)
        localizer = get_program()
        origin = origins.find_origin(user, localizer, request.init_from)
        parameters = origins.with_network_of(
            origin, localizer, request.parameters(), given=request.model_fields_set
        )
        return NewJob(request, parameters, dataset, origin.checkpoint_path)
    program = installed_program(name) if isinstance(name, str) else None
    body = _validate(ProgramJobRequest, data, _misplaced(program) if program else {})
    program = installed_program(body.program)
    if "needs" not in body.model_fields_set:
        body = body.model_copy(update={"needs": program.needs})
    try:
        parameters = validate(program.parameters, body.parameters)
    except InvalidInputError as error:
        raise InvalidInputError(
            {f"parameters.{name}": sentences for name, sentences in error.errors.items()}
        ) from error
    if body.init_from is None:
        return NewJob(body, parameters)
    origin = origins.find_origin(user, program, body.init_from)
    return NewJob(body, parameters, init_from=origin.checkpoint_path)


def _misplaced(program: Program) -> dict[str, str]:
    """What to do with a field that belongs elsewhere, or to the built-in program."""
    sentence = f"Unknown field; parameters of {program.name!r} belong in `parameters`."
    inside = dict.fromkeys(program.parameters.model_fields, sentence)
    return {"dataset_id": f"Program {program.name!r} does not use datasets."} | inside


def _validate(model: type[Request], data: Mapping[str, JsonValue], hints: Hints) -> Request:
    """Validate; an unknown field that has a hint is answered with it."""
    try:
        return validate(model, data)
    except InvalidInputError as error:
        raise InvalidInputError(
            {
                field: [hints[field]] if field in hints else sentences
                for field, sentences in error.errors.items()
            }
        ) from error


def installed_program(name: str) -> Program:
    try:
        return get_program(name)
    except (UnknownProgramError, ManifestError) as error:
        raise InvalidInputError({"program": [str(error)]}) from error
