"""ETags and conditional requests: 304 if nothing has changed, 412 if `If-Match` fails.

A tag is computed from columns that change with the row (`seq`, `updated_at`), before anything else
is read or rendered. RFC 9110, 8.8.3 and 13.
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
    description="The `ETag` that you read. The response is 412 if the resource has changed since.",
)
# A cache may store the response, but has to revalidate it each time.
CACHE_CONTROL = "private, no-cache"
# The part of a tag after this changes with each heartbeat. `If-Match` ignores it, so that a
# heartbeat does not fail a change of a running job.
_SHOWN = "."


class PreconditionFailed(APIException):
    status_code = HTTPStatus.PRECONDITION_FAILED
    default_detail = "The resource has changed since you read it. Read it again and retry."


def make_etag(*parts: object) -> str:
    """An entity tag; `parts` together identify the state."""
    text = "\n".join(map(str, parts))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


def job_etag(job: Job, waits_for: str) -> str:
    """Includes fields from elsewhere, which change without a change of `updated_at`: the workers
    online, the parent, the dataset, the owner and the team's name."""
    related = job.dataset_hash, job.owner.username, job.team, job.project
    version = make_etag("job", job.pk, job.seq, job.updated_at, job.parent_id, *related)
    return f'{version[:-1]}{_SHOWN}{make_etag(job.heartbeat_at, waits_for)[1:9]}"'


def dataset_etag(dataset: Dataset) -> str:
    variable = dataset.samples, dataset.content_hash, dataset.owner.username, dataset.team
    return make_etag("dataset", dataset.pk, dataset.name, dataset.status, *variable)


def model_etag(model: TrainedModel) -> str:
    """A model never changes, but the shown fields of its job may."""
    job = model.job
    shown = job.name, job.owner.username, job.dataset_hash
    return make_etag("model", model.pk, model.created_at, *shown)


def conditional_response(request: Request, etag: str, make_data: Callable[[], Any]) -> Response:
    """The data, or 304 if `If-None-Match` has the tag; `make_data` is not called then."""
    not_modified = _matches(request.headers.get("If-None-Match", ""), etag)
    response = Response(status=HTTPStatus.NOT_MODIFIED) if not_modified else Response(make_data())
    response["ETag"] = etag
    response["Cache-Control"] = CACHE_CONTROL
    return response


def conditional_page(
    request: Request,
    rows: Iterable[Any],
    row_etag: Callable[[Any], str],
    make_data: Callable[[], Any],
) -> Response:
    # The URL is part of the tag: the links to other pages contain its host name.
    return conditional_response(
        request, make_etag(request.build_absolute_uri(), *map(row_etag, rows)), make_data
    )


def require_match(request: Request, etag: str) -> bool:
    """Raise PreconditionFailed unless `If-Match` matches; return whether it names a tag."""
    header = request.headers.get("If-Match")
    if header is None:
        return False
    if not any(tag == "*" or _version(tag) == _version(etag) for tag in parse_etags(header)):
        raise PreconditionFailed
    return header.strip() != "*"


def _version(tag: str) -> str:
    """Weak tags match too: a proxy that compresses makes our tags weak."""
    return tag.removeprefix("W/").strip('"').partition(_SHOWN)[0]


def _matches(header: str, etag: str) -> bool:
    return any(tag == "*" or tag.removeprefix("W/") == etag for tag in parse_etags(header))
