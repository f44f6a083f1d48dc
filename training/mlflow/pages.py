"""Pages of searches; the token of a page is its offset."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel

from training.mlflow.errors import invalid

Key = TypeVar("Key")
Row = TypeVar("Row")
Message = TypeVar("Message", bound=BaseModel)
MAX_OFFSET = 2**31
# A page ends early at this size; clients follow its token as usual.
MAX_PAGE_BYTES = 16_000_000


def read_page(
    keys: Sequence[Key],
    read: Callable[[Sequence[Key]], Mapping[Key, Row]],
    as_message: Callable[[Row], Message],
    read_together: int,
) -> tuple[list[Message], int]:
    """The messages of as many rows as the size of a page allows, and the number of their keys.

    The page has at least one message. Rows deleted in the meantime are skipped. At most
    `read_together` rows are in memory at a time.
    """
    found: list[Message] = []
    size = 0
    for first in range(0, len(keys), read_together):
        some = keys[first : first + read_together]
        rows = read(some)
        for number, key in enumerate(some, first):
            if key not in rows:
                continue
            message = as_message(rows[key])
            size += len(message.model_dump_json(exclude_none=True))
            if found and size > MAX_PAGE_BYTES:
                return found, number
            found.append(message)
    return found, len(keys)


def next_token(start: int, sent: int, total: int) -> str | None:
    """The token of the page after `sent` of `total` rows from `start` on."""
    return encode_token(start + sent) if start + sent < total else None


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
