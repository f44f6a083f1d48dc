"""Page tokens: the offset of the next page."""

from __future__ import annotations

import base64
import json

from training.mlflow.errors import invalid

MAX_OFFSET = 2**31


def encode_token(offset: int) -> str:
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def decode_token(token: str) -> int:
    """0 for an empty token; raises MlflowError."""
    if not token:
        return 0
    try:
        offset = json.loads(base64.b64decode(token.encode(), validate=True))["offset"]
    except (ValueError, TypeError, KeyError, RecursionError):
        offset = None
    if type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
        raise invalid(f"Invalid page token {token[:100]!r}: this server did not issue it.")
    return offset
