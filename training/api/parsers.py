"""The JSON parsers of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

from training.programs.measurements import ExactFloat
from training.validation import TOO_DEEP

# Enough for a request of 200,000 measurements, each with a name and all fields.
MAX_PREDICT_VALUES = 2_000_000


class TooManyValuesError(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE

    def __init__(self, maximum: int) -> None:
        super().__init__(
            f"The body has more than {maximum:,} JSON values; send it in several requests."
        )


class UnsupportedEncodingError(APIException):
    status_code = status.HTTP_415_UNSUPPORTED_MEDIA_TYPE

    def __init__(self, encoding: str, fix: str) -> None:
        super().__init__(f"Content-Encoding {encoding!r} is not supported here; {fix}.")


def check_value_count(content: bytes, maximum: int) -> None:
    """Raise TooManyValuesError. An empty list has three bytes as JSON and 72 in memory.

    Each value follows a comma or an opening bracket. Those in texts count too.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > maximum:
        raise TooManyValuesError(maximum)


class BoundedJSONParser(JSONParser):
    """A body that exhausts the parser's stack is a client error, not a server error."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        _refuse_encoded(parser_context)
        try:
            return self._load(stream)
        except RecursionError:
            raise ParseError(TOO_DEEP) from None

    def _load(self, stream: IO[Any]) -> Any:
        return loads(stream.read())


class ExactJSONParser(BoundedJSONParser):
    """Keeps the digits of numbers with a fraction (`ExactFloat`)."""

    def _load(self, stream: IO[Any]) -> Any:
        content: bytes = stream.read()
        check_value_count(content, MAX_PREDICT_VALUES)
        return loads(content, parse_float=ExactFloat)


def _refuse_encoded(parser_context: Mapping[str, Any] | None) -> None:
    """Only reports are decompressed, within their bounds; without this, gzip is "not UTF-8"."""
    encoding = (parser_context or {})["request"].headers.get("Content-Encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedEncodingError(encoding, "send the JSON itself")


def loads(content: bytes, parse_float: type[float] | None = None) -> Any:
    """Strict JSON in UTF-8, perhaps after a byte order mark; raises ParseError with a sentence."""
    try:
        return json.loads(
            content.decode("utf-8-sig"), parse_float=parse_float, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is invalid"
        raise ParseError(f"The body is not JSON in UTF-8: {reason}.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ParseError(f"The body is not JSON: {error.msg} ({place}).") from error
    except ValueError as error:  # Python limits integers to 4,300 digits
        raise ParseError("The body has a whole number of more than 4,300 digits.") from error


def _refuse_constant(name: str) -> None:
    raise ParseError(f"{name} is not a number in JSON; send null or leave the field out.")
