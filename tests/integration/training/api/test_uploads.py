"""Malicious uploads and their errors."""

from __future__ import annotations

import io
import json
import pickle
import re
import socket
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from rest_framework.test import APIClient

from tests.integration.training.api.test_datasets import DATASETS, TABLES, stored_files
from tests.polling import eventually
from tests.stack import Stack, running_stack
from training.models import Dataset

Member = tuple[str | zipfile.ZipInfo, bytes]


def packed(*members: Member) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in members:
            pack.writestr(name, content)
    return out.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


TABLE = [(name, text.encode()) for name, text in TABLES.items()]
MALICIOUS: dict[str, tuple[bytes, str]] = {
    "bomb": (packed(("receivers.csv", bytes(64 << 20)), *TABLE[1:]), "more than 200 times"),
    "traversal": (packed(*TABLE, ("../../evil.csv", b"x")), "contains a path outside itself"),
    "backslashes": (packed(*TABLE, ("..\\evil.csv", b"x")), "contains a path outside itself"),
    "absolute": (packed(*TABLE, ("/etc/evil.csv", b"x")), "contains a path outside itself"),
    "link": (packed(*TABLE, (link("samples.lnk"), b"/etc/passwd")), "contains a link"),
    "members": (packed(*TABLE, *((f"{n}.txt", b"") for n in range(1000))), "more than 1,000"),
    "many": (packed(*((f"{n:0>60}", b"") for n in range(12_000))), "more than 1,000 members"),
    "pickle": (pickle.dumps({"rows": list(range(100))}), "This is not a valid zip file"),
}


@pytest.mark.parametrize("attack", MALICIOUS)
def test_malicious_zip_is_refused_and_nothing_is_stored(
    api: APIClient, attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    work, settings.DATA_DIR = tmp_path / "work", str(tmp_path / "data")
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    content, message = MALICIOUS[attack]
    before = stored_files()
    file = io.BytesIO(content)
    file.name = "data.zip"
    answer = api.post(f"{DATASETS}/import", {"name": "x", "file": file}, format="multipart")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert message in answer.json()["detail"]
    assert not Dataset.objects.exists()
    assert stored_files() == before
    assert list(work.iterdir()) == []


def test_file_over_the_limit_is_413(api: APIClient, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 100
    file = io.BytesIO(packed(*TABLE))
    answer = api.post(f"{DATASETS}/import", {"name": "x", "file": file}, format="multipart")
    assert answer.status_code == 413
    assert "the limit is 100" in answer.json()["detail"]


@contextmanager
def body(stack: Stack, head: str, chunk: bytes = b"", times: int = 0) -> Iterator[bytes]:
    """The answer to a request whose body may never end; the line is open meanwhile."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as line:
        line.sendall(head.replace("\n", "\r\n").encode())
        for _ in range(times):
            line.sendall(chunk)
        yield line.recv(65536)


def unnamed_bytes(stack: Stack) -> int:
    """What lies in the web process's temporary files, which have no name from the first."""
    assert stack.web is not None
    files = Path(f"/proc/{stack.web.pid}/fd").iterdir()
    return sum(file.stat().st_size for file in files if str(file.readlink()).endswith("(deleted)"))


def test_two_gigabytes_are_rejected_by_content_length(embedded: Stack) -> None:
    head = (
        f"POST {DATASETS}/import HTTP/1.1\nHost: localhost\nContent-Length: {2 << 30}\n"
        "Expect: 100-continue\n\n"
    )
    with body(embedded, head) as answer:
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"application/problem+json" in answer
        assert b"100 Continue" not in answer
        assert b"537,919,488 bytes" in answer
        assert unnamed_bytes(embedded) == 0


def test_chunked_body_over_the_limit_is_refused_while_reading(embedded: Stack) -> None:
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    head = f"POST {DATASETS} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n"
    with body(embedded, head, chunk, times=4) as answer:
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"2,097,152 bytes" in answer
        assert unnamed_bytes(embedded) == 0


SENDERS = [
    "", "Authorization: Bearer wrong\n", "Cookie: sessionid=wrong\n",
    "X-Trackio-Write-Token: wrong\n",
]  # fmt: skip


@pytest.mark.parametrize("sender", SENDERS)
def test_large_body_of_an_unauthenticated_client_gets_no_100_continue(
    embedded: Stack, sender: str
) -> None:
    head = (
        f"POST {DATASETS}/import HTTP/1.1\nHost: localhost\nContent-Length: 500000000\n{sender}"
        "Expect: 100-continue\n\n"
    )
    with body(embedded, head) as answer:
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert unnamed_bytes(embedded) == 0


@pytest.mark.parametrize("sender", SENDERS)
def test_large_chunked_body_without_authentication_is_rejected_while_it_arrives(
    embedded: Stack, sender: str
) -> None:
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    head = (
        f"POST {DATASETS}/import HTTP/1.1\nHost: localhost\n{sender}Transfer-Encoding: chunked\n\n"
    )
    with body(embedded, head, chunk, times=3) as answer:
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert unnamed_bytes(embedded) == 0


def test_uploads_of_one_user_at_once_are_limited_before_they_are_read(embedded: Stack) -> None:
    """By a `read` token too: no scope is asked before the body is on disk."""
    allowed = settings.USER_LIMITS["uploads"]
    head = (
        f"PUT /api/2.0/mlflow-artifacts/artifacts/0/x HTTP/1.1\nHost: localhost\n"
        f"Authorization: Bearer {embedded.tokens['ada']}\nContent-Length: {4 << 30}\n"
        "Expect: 100-continue\n\n"
    )
    with ExitStack() as lines:
        for _ in range(allowed):
            answer = lines.enter_context(body(embedded, head))
            assert answer.startswith(b"HTTP/1.1 100 ")
        with body(embedded, head) as answer:
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"Retry-After: 2\r\n" in answer
            assert f"ada has {allowed} large uploads under way".encode() in answer
        others = head.replace(embedded.tokens["ada"], embedded.tokens["grace"])
        with body(embedded, others) as answer:
            assert answer.startswith(b"HTTP/1.1 100 ")
    eventually(lambda: admitted(embedded, head), 20)


def test_upload_without_room_for_it_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    with running_stack(tmp_path, HEIMDALL_STORED_BYTES_PER_USER="10M") as stack:
        head = (
            "{path} HTTP/1.1\nHost: localhost\n"
            f"Authorization: Bearer {stack.tokens['ada']}\nContent-Length: 20000000\n"
            "Expect: 100-continue\n\n"
        )
        for path in (
            "PUT /api/2.0/mlflow-artifacts/artifacts/0/x",
            f"PUT /api/v1/training/jobs/{uuid4()}/artifacts/x",
            f"POST {DATASETS}/import",
        ):
            with body(stack, head.format(path=path)) as answer:
                assert answer.startswith(b"HTTP/1.1 409 ")
                assert b"of stored files, and the limit is 10" in answer
                assert unnamed_bytes(stack) == 0
        artifact = head.format(path=f"PUT /api/v1/training/jobs/{uuid4()}/artifacts/x?dry_run=1")
        with body(stack, artifact) as answer:
            assert answer.startswith(b"HTTP/1.1 409 ")
        preview = head.format(path=f"POST {DATASETS}/import?dry_run=1")
        with body(stack, preview) as answer:
            assert answer.startswith(b"HTTP/1.1 100 ")
        chunked = (
            head.format(path="PUT /api/2.0/mlflow-artifacts/artifacts/0/x")
            .replace("Content-Length: 20000000", "Transfer-Encoding: chunked")
            .replace("Expect: 100-continue\n", "")
        )
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        with body(stack, chunked, chunk, times=12) as answer:
            assert answer.startswith(b"HTTP/1.1 409 ")
            assert b"of stored files, and the limit is 10" in answer
            assert unnamed_bytes(stack) == 0


def admitted(stack: Stack, head: str) -> bool:
    with body(stack, head) as answer:
        return answer.startswith(b"HTTP/1.1 100 ")


def peak_mb(stack: Stack) -> float:
    assert stack.web is not None
    status = Path(f"/proc/{stack.web.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def test_large_body_of_a_user_is_read_without_keeping_it_in_memory(embedded: Stack) -> None:
    with embedded.api() as api:
        answer = api.post("/datasets/import", files={"file": bytes(3 << 20)}, data={"name": "x"})
        assert answer.status_code == 400
        before = peak_mb(embedded)
        answer = api.post("/datasets/import", files={"file": bytes(80 << 20)}, data={"name": "x"})
    assert answer.status_code == 400
    assert "not a valid zip" in answer.text
    assert peak_mb(embedded) - before < 40


def test_trackio_client_sends_its_whole_buffer_in_one_request(embedded: Stack) -> None:
    """The server finds the user in Trackio's own header before it reads a large body."""
    logs = [
        {"project": "kept", "run": "r", "run_id": "a" * 32, "metrics": {"loss": step},
         "step": step, "config": None, "log_id": f"{step:032x}"}
        for step in range(300)
    ]  # fmt: skip
    content = json.dumps({"kwargs": {"logs": logs, "pad": "x" * (17 << 20)}})
    url = f"{embedded.url}/api/bulk_log"
    headers = {"X-Trackio-Write-Token": embedded.tokens["ada"], "Content-Type": "application/json"}
    answer = httpx.post(url, content=content, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    with embedded.api() as api:
        [job] = api.get("/jobs", params={"project": "kept"}).json()["results"]
    assert job["summary"] == {"loss": 299.0}


def test_body_gets_100_continue_once_the_client_is_authenticated(embedded: Stack) -> None:
    head = (
        f"POST {DATASETS}/import HTTP/1.1\nHost: localhost\nContent-Length: {3 << 20}\n"
        f"Authorization: Bearer {embedded.tokens['ada']}\nExpect: 100-continue\n\n"
    )
    with body(embedded, head) as answer:
        assert answer == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_no_module_uses_pickle() -> None:
    loads = re.compile(r"^\s*(import|from) (pickle|joblib|dill|cloudpickle|shelve)\b", re.MULTILINE)
    for room in ("heimdall", "training", "realtime"):
        for file in (Path(settings.BASE_DIR) / room).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not loads.search(text), file
            assert "allow_pickle=True" not in text, file
            assert not re.search(r"(?<!safetensors\.)torch\.load\(", text), file
