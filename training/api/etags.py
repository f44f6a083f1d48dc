"""Answers that say by which tag they are known: 304 for what has not changed, 412 for what has.

A tag is computed from what marks a row (its seq, when it was last written), before anything else is
read or rendered. RFC 9110, 8.8.3 and 13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from training.models import Dataset, Job, TrainedModel

IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The `ETag` of what is to be changed: 412 where it is something else by now.",
)
# Whoever keeps an answer asks each time whether it is still true.
CACHE = "private, no-cache"


class PreconditionFailed(APIException):
    """The row is no longer what the client had read."""

    status_code = HTTPStatus.PRECONDITION_FAILED
    default_detail = "It has changed since you read it; read it again, then decide."


def make_etag(*marks: Any) -> str:
    """An entity tag of whatever tells one state from every other."""
    text = "\n".join(str(mark) for mark in marks)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


def job_etag(job: Job, waits_for: str) -> str:
    """Each change of a job moves `updated_at`; what others change of it does not: the workers that
    are there, its parent, dataset, owner and the name of its team."""
    told = waits_for, job.dataset.content_hash, job.owner.username, job.team
    return make_etag("job", job.pk, job.seq, job.updated_at, job.parent_id, *told)


def dataset_etag(dataset: Dataset) -> str:
    told = dataset.samples, dataset.content_hash, dataset.owner.username, dataset.team
    return make_etag("dataset", dataset.pk, dataset.name, dataset.status, *told)


def model_etag(model: TrainedModel) -> str:
    """A model never changes; what is told of its job may."""
    job = model.job
    told = job.name, job.owner.username, job.dataset.content_hash
    return make_etag("model", model.pk, model.created_at, *told)


def conditional_response(request: Request, etag: str, make: Callable[[], Any]) -> Response:
    """What `make` gives, or 304 where the client has it."""
    fresh = _matches(request.headers.get("If-None-Match", ""), etag)
    response = Response(status=HTTPStatus.NOT_MODIFIED) if fresh else Response(make())
    response["ETag"] = etag
    response["Cache-Control"] = CACHE
    return response


def conditional_page(
    request: Request,
    rows: Iterable[Any],
    of_row: Callable[[Any], str],
    make: Callable[[], dict[str, Any]],
) -> Response:
    """The same for a page of rows."""
    # The links hold the whole address, which the client may have reached by another name.
    return conditional_response(
        request, make_etag(request.build_absolute_uri(), *map(of_row, rows)), make
    )


def require_match(request: Request, etag: str) -> bool:
    """Changed where `If-Match` names another state; whether it was sent."""
    sent = request.headers.get("If-Match")
    if sent is None:
        return False
    if not _matches(sent, etag):
        raise PreconditionFailed
    return sent.strip() != "*"


def _matches(header: str, etag: str) -> bool:
    """Whether the list of tags has this one.

    Weak ones count in `If-Match` too: ours are strong, and become weak only where an answer is
    compressed on its way.
    """
    return any(one == "*" or one.removeprefix("W/") == etag for one in parse_etags(header))
