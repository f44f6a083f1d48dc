"""Request bodies of reports: JSON or the bytes of a log, compressed with gzip or not."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import IO, Any

import orjson
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from training.api.parsers import UnsupportedEncodingError, check_value_count

MAX_BYTES = 8 * 1024 * 1024  # decompressed
MAX_VALUES = 1_000_000
_GZIP = 16 + zlib.MAX_WBITS


class BodyTooLargeError(APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"The decompressed body exceeds {max_bytes:,} bytes; send it in several requests."
        )


class ReportParser(BaseParser):
    """JSON, ten times as fast as DRF's parser."""

    media_type = "application/json"
    max_bytes, max_values = MAX_BYTES, MAX_VALUES

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        content = _read(stream, parser_context, self.max_bytes) or b"{}"
        check_value_count(content, self.max_values)
        return self.loads(content)

    def loads(self, content: bytes) -> Any:
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ParseError(
                f'The body is not JSON: {error}. NaN and infinities are the strings "NaN", '
                '"Infinity" and "-Infinity".'
            ) from error


class LogParser(BaseParser):
    """Accepts any media type and returns the raw bytes."""

    media_type = "*/*"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return _read(stream, parser_context, MAX_BYTES)


def _read(stream: IO[Any], parser_context: Mapping[str, Any] | None, max_bytes: int) -> bytes:
    headers = (parser_context or {})["request"].headers
    encoding = headers.get("Content-Encoding", "").strip().lower()
    content: bytes = stream.read(max_bytes + 1)
    if encoding == "gzip":
        content = _decompress(content, max_bytes)
    elif encoding not in ("", "identity"):
        raise UnsupportedEncodingError(encoding, "use gzip or none")
    if len(content) > max_bytes:
        raise BodyTooLargeError(max_bytes)
    return content


def _decompress(content: bytes, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        found = decompressor.decompress(content, max_bytes + 1)
    except zlib.error as error:
        raise ParseError(f"The body is not compressed with gzip: {error}.") from error
    if len(found) <= max_bytes and not decompressor.eof:
        raise ParseError("The gzip body is truncated.")
    return found
