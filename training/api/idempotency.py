"""`Idempotency-Key` on creations: a client that heard no answer may safely ask again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
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
from training.validation import InvalidInputError

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "pattern": r"^[!#-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="Any text of at most 255 characters, a UUID say: for 24 hours the same key and "
    "body get the first answer again, and nothing is made twice.",
)
# What a creation may answer beside its own.
REFUSAL_RESPONSES = {400: ProblemSerializer, 409: ProblemSerializer, 422: ProblemSerializer}

Creation = TypeVar("Creation")


def create_once(
    request: Request, prepare: Callable[[], Creation], create: Callable[[Creation], Response]
) -> Response:
    """`prepare` checks and reads, for as long as it likes; `create` writes, in one transaction."""
    key = _key(request)
    if key is None:
        return create(prepare())
    claimed = idempotency.acquire(cast(User, request.user), key, _digest(request))
    if claimed.status is not None:
        again = Response(json.loads(claimed.body), status=claimed.status)
        again["Idempotency-Replayed"] = "true"
        return again
    try:
        wanted = prepare()
        with transaction.atomic():
            response = create(wanted)
            body = JSONRenderer().render(response.data).decode()
            idempotency.complete(claimed, response.status_code, body)
    except BaseException:
        idempotency.release(claimed)
        raise
    return response


def _key(request: Request) -> str | None:
    """The header's text, with or without the quotes that the draft asks for."""
    sent = request.headers.get(HEADER)
    if sent is None:
        return None
    key = sent.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidInputError(
            {HEADER: [f"A key is 1 to {MAX_KEY_LENGTH} printable ASCII characters."]}
        )
    return key


def _digest(request: Request) -> str:
    """Of what is asked for: where, and the body's content, whatever its white space."""
    found = hashlib.sha256(f"{request.method} {request.path}\n".encode())
    if hasattr(request.data, "lists"):
        for name, values in sorted(request.data.lists()):
            for value in values:
                found.update(json.dumps(name).encode())
                if isinstance(value, UploadedFile):
                    for chunk in value.chunks():
                        found.update(chunk)
                    value.seek(0)
                else:
                    found.update(json.dumps(value).encode())
    else:
        found.update(json.dumps(request.data, sort_keys=True).encode())
    return found.hexdigest()
