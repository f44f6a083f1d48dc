"""Ranges, conditional requests and headers of file downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from training.api import downloads

CONTENT = bytes(range(100))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


def get(path: Path, method: str = "GET", **headers: str) -> Any:
    request = Request(APIRequestFactory().generic(method, "/", headers=headers))
    return downloads.download(request, path, "model.bin")


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_complete_file_is_sent_as_an_attachment(path: Path) -> None:
    answer = get(path)
    assert (answer.status_code, body(answer)) == (200, CONTENT)
    assert answer["Content-Length"] == "100"
    assert answer["Content-Disposition"] == 'attachment; filename="model.bin"'
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["Content-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("requested", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=90-", 90, 99),
        ("bytes=90-1000", 90, 99),
        ("bytes=-10", 90, 99),
        ("bytes=-1000", 0, 99),
        ("bytes=99-99", 99, 99),
        ("bytes = 5 - 6", 5, 6),
    ],
)
def test_range_response_states_its_position(
    path: Path, requested: str, first: int, last: int
) -> None:
    answer = get(path, Range=requested)
    assert (answer.status_code, body(answer)) == (206, CONTENT[first : last + 1])
    assert answer["Content-Range"] == f"bytes {first}-{last}/100"
    assert answer["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize(
    "requested",
    ["bytes=-", "bytes=9-5", "bytes=0-1,5-6", "items=0-9", "bytes=a-b", "bytes=0-9" + "9" * 20, ""],
)
def test_invalid_or_multiple_ranges_are_answered_with_the_whole_file(
    path: Path, requested: str
) -> None:
    answer = get(path, Range=requested)
    assert (answer.status_code, body(answer)) == (200, CONTENT)
    assert "Content-Range" not in answer


@pytest.mark.parametrize("requested", ["bytes=100-", "bytes=1000-2000", "bytes=-0"])
def test_range_beyond_the_end_is_416_with_the_size(path: Path, requested: str) -> None:
    answer = get(path, Range=requested)
    assert answer.status_code == 416
    assert answer["Content-Range"] == "bytes */100"
    assert answer.data["detail"] == "The range starts beyond the file's 100 bytes."


def test_unchanged_file_is_304(path: Path) -> None:
    etag = get(path)["ETag"]
    assert get(path, **{"If-None-Match": etag}).status_code == 304
    path.write_bytes(CONTENT + b"x")
    assert get(path, **{"If-None-Match": etag}).status_code == 200


def test_range_of_a_changed_file_returns_the_whole_new_file(path: Path) -> None:
    etag = get(path)["ETag"]
    assert get(path, Range="bytes=0-9", **{"If-Range": etag}).status_code == 206
    path.write_bytes(CONTENT + b"x")
    answer = get(path, Range="bytes=0-9", **{"If-Range": etag})
    assert (answer.status_code, body(answer)) == (200, CONTENT + b"x")


def test_head_has_the_headers_without_the_content(path: Path) -> None:
    answer = get(path, "HEAD", Range="bytes=0-9")
    assert (answer.status_code, answer["Content-Length"], answer.content) == (206, "10", b"")


def test_large_file_is_read_in_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "BLOCK_SIZE", 30)
    blocks = list(get(path, Range="bytes=5-").streaming_content)
    assert [len(block) for block in blocks] == [30, 30, 30, 5]
    assert b"".join(blocks) == CONTENT[5:]


def test_download_of_a_file_that_shrinks_during_the_transfer_fails(path: Path) -> None:
    answer = get(path)
    path.write_bytes(b"short")
    with pytest.raises(OSError, match="became shorter while it was sent"):
        body(answer)
