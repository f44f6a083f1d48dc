"""The output of an attempt as text, in blocks: the whole of it, or a `Range` of its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from training.api import downloads, etags
from training.jobs.logs import AttemptLog, Gap

CONTENT_TYPE = "text/plain; charset=utf-8"


class RemovedMeanwhileError(Exception):
    """The middle of the log was removed while it was sent; the response is cut off."""


def log_response(
    request: Request, log: AttemptLog, after: int, name: str, *, ended: bool
) -> HttpResponseBase:
    """The bytes from `after` on; a line names those that are not kept.

    A range counts from `after`, has exactly the bytes of the output, and ends before a gap.
    """
    size, gap = log.size(), log.gap()
    total = max(size - after, 0)
    etag = etags.make_etag("log", log.path, size, gap, after)
    try:
        # An empty log has no ranges, and a client that waits for output must not get an error.
        byte_range = downloads.requested_range(request, total, etag) if total else None
    except downloads.RangeNotSatisfiableError:
        return downloads.range_not_satisfiable(total)
    if byte_range is None:
        response = downloads.streamed(request, whole_text(log, after, size))
        if ended:  # while the training runs, more of the log may be removed
            response["Content-Length"] = str(_text_length(gap, after, size))
    else:
        is_suffix = request.headers.get("Range", "").replace(" ", "").startswith("bytes=-")
        kept = _kept_range(byte_range[0] + after, byte_range[1] + after, gap, is_suffix=is_suffix)
        if kept is None:
            return downloads.range_not_satisfiable(total, gap.describe())
        first, last = kept
        response = downloads.streamed(request, _exact_bytes(log, first, last + 1))
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response["Content-Range"] = f"bytes {first - after}-{last - after}/{total}"
        response["Content-Length"] = str(last + 1 - first)
    response["Content-Type"] = CONTENT_TYPE
    response["Content-Disposition"] = f'inline; filename="{name}"'
    response["Content-Encoding"] = "identity"  # a compressed response has no ranges
    response["Accept-Ranges"] = "bytes"
    response["ETag"], response["Cache-Control"] = etag, etags.CACHE_CONTROL
    return response


def _kept_range(first: int, last: int, gap: Gap, *, is_suffix: bool) -> tuple[int, int] | None:
    """The first kept part of a range; None if it begins in the gap.

    The end of an output is what there is of it, so a suffix begins after the gap instead.
    """
    if first in gap:
        return (gap.end, last) if is_suffix and last >= gap.end else None
    return first, min(last, gap.start - 1) if first < gap.start else last


def whole_text(log: AttemptLog, after: int, size: int) -> Iterator[bytes]:
    """The kept bytes from `after` up to `size`, with one line in place of a gap."""
    for piece in log.pieces(after, size):
        if piece.gap:
            yield gap_line(piece.gap, is_first=piece.gap.start == after).encode()
        yield piece.data


def _text_length(gap: Gap, after: int, size: int) -> int:
    missing = Gap(max(gap.start, after), min(gap.end, size))
    if missing.size <= 0:
        return max(size - after, 0)
    return size - after - missing.size + len(gap_line(missing, is_first=missing.start == after))


def gap_line(gap: Gap, *, is_first: bool) -> str:
    """On a separate line, because the text before a gap may end in the middle of a line."""
    return ("" if is_first else "\n") + gap.describe() + "\n"


def _exact_bytes(log: AttemptLog, start: int, end: int) -> Iterator[bytes]:
    for piece in log.pieces(start, end):
        if piece.gap:
            raise RemovedMeanwhileError(piece.gap.describe())
        yield piece.data
