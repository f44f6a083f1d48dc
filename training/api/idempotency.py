"""`Idempotency-Key`: a client that got no response can safely repeat a creation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar, cast

from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from drf_spectacular.utils import OpenApiParameter
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts import idempotency
from training.api.serializers.problems import ProblemSerializer
from training.validation import TOO_DEEP, InvalidInputError

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "pattern": r"^[!#-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="Any string of at most 255 characters, such as a UUID. For 24 hours a request "
    "with the same key and body gets the first response again, and nothing is created twice.",
)
# The error responses of every creation.
ERROR_RESPONSES = {400: ProblemSerializer, 409: ProblemSerializer, 422: ProblemSerializer}

Creation = TypeVar("Creation")


def create_once(
    request: Request,
    prepare: Callable[[], Creation],
    create: Callable[[Creation], Response],
    orphaned_after: timedelta = idempotency.ORPHANED_AFTER,
) -> Response:
    """`prepare` validates outside a transaction; `create` writes inside one, with the key."""
    key = _key(request)
    if key is None:
        return create(prepare())
    claim = idempotency.acquire(cast(User, request.user), key, _digest(request), orphaned_after)
    if claim.status is not None:
        replay = Response(json.loads(claim.body), status=claim.status)
        replay["Idempotency-Replayed"] = "true"
        return replay
    try:
        prepared = prepare()
        with transaction.atomic():
            response = create(prepared)
            body = JSONRenderer().render(response.data).decode()
            idempotency.complete(claim, response.status_code, body)
    except BaseException:
        idempotency.release(claim)
        raise
    return response


def _key(request: Request) -> str | None:
    """The header's value, with or without the quotes that the IETF draft requires."""
    header = request.headers.get(HEADER)
    if header is None:
        return None
    key = header.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidInputError(
            {HEADER: [f"A key is 1 to {MAX_KEY_LENGTH} printable ASCII characters."]}
        )
    return key


def _digest(request: Request) -> str:
    """A digest of method, path and the parsed body, so white space does not matter."""
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode())
    if hasattr(request.data, "lists"):
        for name, values in sorted(request.data.lists()):
            for value in values:
                digest.update(json.dumps(name).encode())
                if isinstance(value, UploadedFile):
                    for chunk in value.chunks():
                        digest.update(chunk)
                    value.seek(0)
                else:
                    digest.update(json.dumps(value).encode())
    else:
        digest.update(_canonical_json(request.data))
    return digest.hexdigest()


def _canonical_json(data: object) -> bytes:
    try:
        return json.dumps(data, sort_keys=True).encode()
    except RecursionError:
        raise InvalidInputError({"": [TOO_DEEP]}) from None
