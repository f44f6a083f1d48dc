"""The JSON parsers of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant

from training.programs.measurements import ExactFloat
from training.validation import TOO_DEEP


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
        try:
            return json.loads(stream.read(), parse_float=ExactFloat, parse_constant=strict_constant)
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error
