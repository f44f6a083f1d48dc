"""The JSON parsers of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant

from training.programs.measurements import ExactFloat
from training.validation import TOO_DEEP

# Of a request of 200,000 measurements, each with a name and all fields.
MAX_PREDICT_VALUES = 2_000_000


class TooManyValuesError(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE

    def __init__(self, maximum: int) -> None:
        super().__init__(
            f"The body has more than {maximum:,} JSON values; send it in several requests."
        )


def check_value_count(content: bytes, maximum: int) -> None:
    """Raise TooManyValuesError. An empty list has three bytes as JSON and 72 in memory.

    Each value follows a comma or an opening bracket. Those in texts count too.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > maximum:
        raise TooManyValuesError(maximum)


class BoundedJSONParser(JSONParser):
    """A body that exhausts the parser's stack is the client's error, not one of the server."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return self._load(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError(TOO_DEEP) from None

    def _load(
        self,
        stream: IO[Any],
        media_type: str | None,
        parser_context: Mapping[str, Any] | None,
    ) -> Any:
        return super().parse(stream, media_type, parser_context)


class ExactJSONParser(BoundedJSONParser):
    """Keeps the digits of numbers with a fraction (`ExactFloat`)."""

    def _load(
        self,
        stream: IO[Any],
        media_type: str | None,
        parser_context: Mapping[str, Any] | None,
    ) -> Any:
        content: bytes = stream.read()
        check_value_count(content, MAX_PREDICT_VALUES)
        try:
            return json.loads(content, parse_float=ExactFloat, parse_constant=strict_constant)
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error
