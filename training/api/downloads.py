"""Files to download: whole or a range of them, a block at a time, resumable (RFC 9110, 14)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from training.api import errors, etags

BLOCK = 1 << 18
# One range; of several the whole file is answered, which a server may.
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})$")


class AnyAccept(BaseContentNegotiation):
    """A file has one form, whatever is accepted; only an error about it is rendered."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class RangeNotSatisfiable(Exception):
    """The range begins beyond the file's end."""


def download(request: Request, path: Path, name: str) -> HttpResponseBase:
    """The file under this name; 304, 206 and 416 where the request's headers ask for them."""
    about = path.stat()
    etag = etags.make_etag("file", path, about.st_size, about.st_mtime_ns)
    unchanged = etags.conditional_response(request, etag, dict)
    if unchanged.status_code == HTTPStatus.NOT_MODIFIED:
        return unchanged
    try:
        wanted = _requested_range(request, about.st_size, etag)
    except RangeNotSatisfiable:
        return _range_refused(about.st_size)
    first, last = wanted or (0, about.st_size - 1)
    length = last - first + 1
    answer: HttpResponseBase
    if request.method == "HEAD":
        answer = HttpResponse()
    elif isinstance(request._request, ASGIRequest):  # noqa: SLF001
        answer = StreamingHttpResponse(_blocks_async(path, first, length))
    else:
        answer = StreamingHttpResponse(_blocks(path, first, length))
    if wanted:
        answer.status_code = HTTPStatus.PARTIAL_CONTENT
        answer["Content-Range"] = f"bytes {first}-{last}/{about.st_size}"
    answer["Content-Length"] = str(length)
    answer["Content-Type"] = "application/octet-stream"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Content-Encoding"] = "identity"  # compressed on its way it would have no ranges
    answer["Accept-Ranges"] = "bytes"
    answer["ETag"], answer["Cache-Control"] = etag, etags.CACHE
    return answer


def _requested_range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The first and the last byte asked for; None where it is the whole file."""
    found = RANGE.match(request.headers.get("Range", "").replace(" ", ""))
    if found is None or found.groups() == ("", "") or request.method not in {"GET", "HEAD"}:
        return None
    if request.headers.get("If-Range", etag).strip() != etag:
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last or size), size - 1)
        if last and int(last) < start:
            return None  # no range at all, and so ignored
    if start > end:
        raise RangeNotSatisfiable
    return start, end


def _range_refused(size: int) -> Response:
    said = errors.problem_body(416, f"The file has {size} bytes; the range begins beyond them.")
    refused = Response(said, status=416, content_type=errors.CONTENT_TYPE)
    refused["Content-Range"] = f"bytes */{size}"
    return refused


def _blocks(path: Path, first: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while length > 0 and (block := file.read(min(BLOCK, length))):
            length -= len(block)
            yield block


async def _blocks_async(path: Path, first: int, length: int) -> AsyncIterator[bytes]:
    """The same without holding up the server's loop: reading happens in a thread."""
    blocks = _blocks(path, first, length)
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block
