"""File downloads in blocks, resumable with `Range` (RFC 9110, 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from training.api import errors, etags
from training.request_thread import stream_file

BLOCK_SIZE = 1 << 18
# Pages show these. SVG is not among them, because it can contain scripts.
IMAGES = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
# A single range. Several ranges are answered with the whole file, which RFC 9110 allows.
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})$")


class IgnoreClientContentNegotiation(BaseContentNegotiation):
    """Ignores `Accept`: a file has one media type, and only errors are rendered."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class RangeNotSatisfiableError(Exception):
    """The range starts beyond the end of the file."""


def download(request: Request, path: Path, name: str) -> HttpResponseBase:
    """The file as an attachment; 206, 304 or 416 if the request's headers call for it."""
    stat = path.stat()
    etag = etags.make_etag("file", path, stat.st_size, stat.st_mtime_ns)
    conditional = etags.conditional_response(request, etag, dict)
    if conditional.status_code == HTTPStatus.NOT_MODIFIED:
        return conditional
    try:
        byte_range = requested_range(request, stat.st_size, etag)
    except RangeNotSatisfiableError:
        return range_not_satisfiable(stat.st_size)
    first, last = byte_range or (0, stat.st_size - 1)
    length = last - first + 1
    response = streamed(request, _blocks(path, first, length))
    if byte_range:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response["Content-Range"] = f"bytes {first}-{last}/{stat.st_size}"
    response["Content-Length"] = str(length)
    response["Content-Type"] = IMAGES.get(path.suffix.lower(), "application/octet-stream")
    response["Content-Disposition"] = str(content_disposition_header(True, name.rpartition("/")[2]))
    response["Content-Encoding"] = "identity"  # a compressed response has no ranges
    response["Accept-Ranges"] = "bytes"
    response["ETag"], response["Cache-Control"] = etag, etags.CACHE_CONTROL
    return response


def streamed(request: Request, blocks: Iterator[bytes]) -> HttpResponseBase:
    """The blocks as the body; under ASGI they are read in a thread."""
    if request.method == "HEAD":
        return HttpResponse()
    return StreamingHttpResponse(stream_file(request._request, blocks))  # noqa: SLF001


def requested_range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The first and last byte requested; None for the whole file."""
    match = RANGE.match(request.headers.get("Range", "").replace(" ", ""))
    if match is None or match.groups() == ("", "") or request.method not in {"GET", "HEAD"}:
        return None
    if request.headers.get("If-Range", etag).strip() != etag:
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last or size), size - 1)
        if last and int(last) < start:
            return None  # invalid, so ignored (RFC 9110, 14.1.1)
    if start > end:
        raise RangeNotSatisfiableError
    return start, end


def range_not_satisfiable(size: int, detail: str = "") -> Response:
    detail = detail or f"The range starts beyond the file's {size} bytes."
    problem = errors.problem_body(416, detail)
    response = Response(problem, status=416, content_type=errors.CONTENT_TYPE)
    response["Content-Range"] = f"bytes */{size}"
    return response


def _blocks(path: Path, first: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while length > 0 and (block := file.read(min(BLOCK_SIZE, length))):
            length -= len(block)
            yield block
    if length > 0:  # the client waits for the rest: cut off the connection
        raise OSError(f"{path} became shorter while it was sent")
