"""The body of POST /jobs: of the built-in program with flat fields, or of another program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.contrib.auth.models import User
from drf_spectacular.utils import PolymorphicProxySerializer
from pydantic import BaseModel, JsonValue

from training.accounts.permissions import visible_to
from training.api import query_params
from training.api.schemas import CreateJob, JobRequest, ProgramJobRequest
from training.models import Dataset, Job
from training.programs.manifest import ManifestError, Program
from training.programs.registry import DEFAULT_PROGRAM, UnknownProgramError, get_program
from training.validation import InvalidInputError, validate

ANY_JOB = PolymorphicProxySerializer(
    component_name="CreateAnyJob",
    serializers=[CreateJob, ProgramJobRequest],  # type: ignore[list-item]
    resource_type_field_name=None,
)


@dataclass(frozen=True, slots=True)
class NewJob:
    request: JobRequest | ProgramJobRequest
    parameters: BaseModel
    dataset: Dataset | None = None
    init_from: str = ""


def parse_new_job(user: User, data: Mapping[str, JsonValue]) -> NewJob:
    """Validate the body; raise InvalidInputError with a sentence for each invalid field."""
    if data.get("program", DEFAULT_PROGRAM) == DEFAULT_PROGRAM:
        request = validate(CreateJob, data)
        dataset = query_params.usable_dataset(user, str(request.dataset_id))
        return NewJob(request, request.parameters(), dataset)
    body = validate(ProgramJobRequest, data)
    program = installed_program(body.program)
    if "needs" not in body.model_fields_set:
        body = body.model_copy(update={"needs": program.needs})
    try:
        parameters = validate(program.parameters, body.parameters)
    except InvalidInputError as error:
        raise InvalidInputError(
            {f"parameters.{name}": sentences for name, sentences in error.errors.items()}
        ) from error
    return NewJob(body, parameters, init_from=_checkpoint(user, program, body))


def installed_program(name: str) -> Program:
    try:
        return get_program(name)
    except (UnknownProgramError, ManifestError) as error:
        raise InvalidInputError({"program": [str(error)]}) from error


def _checkpoint(user: User, program: Program, body: ProgramJobRequest) -> str:
    """The newest checkpoint of the job that `init_from` names; empty without one."""
    if body.init_from is None:
        return ""
    job = visible_to(Job.objects.all(), user).filter(pk=body.init_from).first()
    if job is None:
        raise InvalidInputError(
            {"init_from": [f"Job {body.init_from} does not exist, or you cannot use it."]}
        )
    if job.program != program.name:
        sentence = f"Job {job.pk} trained {job.program!r}, not {program.name!r}."
        raise InvalidInputError({"init_from": [sentence]})
    if not job.checkpoint_path:
        raise InvalidInputError({"init_from": [f"Job {job.pk} has no checkpoint."]})
    return job.checkpoint_path
