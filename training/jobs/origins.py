"""The job whose weights another job starts from (`init_from`)."""

from __future__ import annotations

import re
from collections.abc import Collection
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q
from pydantic import BaseModel

from training.accounts.permissions import visible_to
from training.models import Job, TrainedModel
from training.programs.manifest import Program
from training.validation import InvalidInputError, validate

FIELD = "init_from"
_JOB_FOLDER = re.compile(r"(?:^|/)jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")


def find_origin(user: User, program: Program, identifier: UUID) -> Job:
    """The job with this ID, or with the model of this ID; raises InvalidInputError.

    Its weights are those of `checkpoint_path`.
    """
    rows = Job.objects.filter(Q(pk=identifier) | Q(model__pk=identifier))
    job = visible_to(rows, user).first()
    if job is None:
        raise _invalid(f"Job {identifier} does not exist, or you cannot use it.")
    if job.kind == Job.Kind.GENERATION:
        raise _invalid(f"Job {job.pk} generated a dataset.")
    if job.program != program.name:
        raise _invalid(f"Job {job.pk} trained {job.program!r}, not {program.name!r}.")
    if program.inference_command and not TrainedModel.objects.filter(job=job).exists():
        raise _invalid(f"Job {job.pk} has no model yet; it must be completed.")
    if not job.checkpoint_path:
        raise _invalid(f"Job {job.pk} has no checkpoint.")
    return job


def with_network_of(
    origin: Job, program: Program, parameters: BaseModel, given: Collection[str]
) -> BaseModel:
    """The parameters with the network of the origin.

    Raises InvalidInputError if one of the `given` parameters contradicts it.
    """
    names = [name for name in program.network_parameters if name in origin.config]
    network = {name: origin.config[name] for name in names}
    own = parameters.model_dump(mode="json")
    sentence = "{!r} is not {!r}, the value of the job that it starts from; leave {} out."
    errors = {
        name: [sentence.format(own[name], value, name)]
        for name, value in network.items()
        if name in given and own[name] != value
    }
    if errors:
        raise InvalidInputError(errors)
    return validate(program.parameters, own | network)


def origin_id(job: Job) -> UUID | None:
    """The ID of the job that it starts from."""
    found = _JOB_FOLDER.search(job.init_from)
    return UUID(found.group(1)) if found else None


def _invalid(sentence: str) -> InvalidInputError:
    return InvalidInputError({FIELD: [sentence]})
