"""GET /jobs/{id}/logs and its stream."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from rest_framework.test import APIClient

from training.jobs import results
from training.jobs.attempts import Attempt
from training.jobs.logs import AttemptLog, Gap, attempt_log
from training.models import Job


def write(job: Job, data: bytes, attempt: int = 1, gap: Gap | None = None) -> AttemptLog:
    log = attempt_log(job.pk, attempt)
    log.path.parent.mkdir(parents=True, exist_ok=True)
    with log.path.open("ab") as out:
        out.write(data)
    if gap:
        log.declare_gap(gap)
    return log


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def url(job: Job, query: str = "") -> str:
    return f"/api/v1/training/jobs/{job.pk}/logs{query}"


def test_job_that_has_not_started_has_an_empty_log(api: APIClient, job: Job) -> None:
    found = api.get(url(job))
    assert (found.status_code, body(found)) == (200, b"")
    assert found["Content-Type"] == "text/plain; charset=utf-8"


def test_log_is_sent_exactly_as_printed(api: APIClient, job: Job, running_attempt: Attempt) -> None:
    write(job, b"\x1b[31mred\x1b[0m\r50 %\r100 %\n\xff\n")
    assert body(api.get(url(job))) == b"\x1b[31mred\x1b[0m\r50 %\r100 %\n\xff\n"
    assert body(api.get(url(job, "?after=8"))) == b"\x1b[0m\r50 %\r100 %\n\xff\n"
    assert body(api.get(url(job, "?after=1000"))) == b""


def test_range_returns_exactly_the_requested_bytes(
    api: APIClient, job: Job, running_attempt: Attempt
) -> None:
    write(job, b"0123456789")
    for query, asked, status, content, named in (
        ("", "bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("", "bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("", "bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("?after=4", "bytes=1-2", 206, b"56", "bytes 1-2/6"),
    ):
        found = api.get(url(job, query), headers={"Range": asked})
        assert (found.status_code, body(found), found["Content-Range"]) == (status, content, named)
        assert found["Content-Length"] == str(len(content))
    beyond = api.get(url(job), headers={"Range": "bytes=10-"})
    assert (beyond.status_code, beyond["Content-Range"]) == (416, "bytes */10")


def test_missing_bytes_are_stated_in_one_line(
    api: APIClient, job: Job, running_attempt: Attempt
) -> None:
    write(job, b"head" + bytes(6) + b"tail", gap=Gap(4, 10))
    line = b"[Heimdall: bytes 4 to 9 of the output (0.0 MB) are not kept.]\n"
    assert body(api.get(url(job))) == b"head\n" + line + b"tail"
    results.fail_attempt(running_attempt, "No.")
    ended = api.get(url(job))
    assert ended["Content-Length"] == str(len(body(ended)))
    from_within = api.get(url(job, "?after=7"))
    assert body(from_within) == line.replace(b"4 to", b"7 to") + b"tail"
    assert from_within["Content-Length"] == str(len(line) + 4)


def test_range_ends_before_the_gap_and_does_not_begin_in_it(
    api: APIClient, job: Job, running_attempt: Attempt
) -> None:
    write(job, b"head" + bytes(6) + b"tail", gap=Gap(4, 10))
    before = api.get(url(job), headers={"Range": "bytes=1-12"})
    assert (body(before), before["Content-Range"]) == (b"ead", "bytes 1-3/14")
    end = api.get(url(job), headers={"Range": "bytes=-8"})
    assert (body(end), end["Content-Range"]) == (b"tail", "bytes 10-13/14")
    within = api.get(url(job), headers={"Range": "bytes=5-12"})
    assert within.status_code == 416
    assert "bytes 4 to 9" in within.json()["detail"]


def test_each_attempt_has_its_log(api: APIClient, job: Job, running_attempt: Attempt) -> None:
    write(job, b"first")
    Job.objects.filter(pk=job.pk).update(attempt=2)
    write(job, b"second", attempt=2)
    assert body(api.get(url(job))) == b"second"
    assert body(api.get(url(job, "?attempt=1"))) == b"first"
    unknown = api.get(url(job, "?attempt=3"))
    assert unknown.status_code == 404
    assert unknown.json()["detail"] == "This job has no attempt 3; the newest is 2."
    for query in ("?attempt=x", "?after=-1", "?after=1.5"):
        assert api.get(url(job, query)).status_code == 400


def test_other_users_cannot_see_the_log(client: Client, bob: User, job: Job) -> None:
    client.force_login(bob)
    assert client.get(url(job)).status_code == 404
    assert client.get(url(job).replace("logs", "logs/stream")).status_code == 404


def test_large_log_is_sent_in_bounded_memory(
    api: APIClient, job: Job, running_attempt: Attempt
) -> None:
    with write(job, b"").path.open("ab") as out:
        for _ in range(200):
            out.write(b"x" * 1_000_000)
    tracemalloc.start()
    response: Any = api.get(url(job))
    sent = sum(len(block) for block in response.streaming_content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent == 200_000_000
    assert peak < 5_000_000


async def stream(
    user: User, job: Job, query: str = "", **headers: str
) -> AsyncIterator[dict[str, str]]:
    """The server-sent events as they arrive."""
    client = AsyncClient()
    await client.aforce_login(user)
    response: Any = await client.get(
        url(job).replace("logs", "logs/stream") + query, headers=headers
    )
    assert response.status_code == 200
    assert response["Content-Type"] == "text/event-stream"
    rest = b""
    async for block in response.streaming_content:
        *whole, rest = (rest + block).split(b"\n\n")
        for one in whole:
            fields = dict(line.split(b": ", 1) for line in one.split(b"\n") if b": " in line)
            yield {name.decode(): value.decode() for name, value in fields.items()}


async def texts(found: AsyncIterator[dict[str, str]]) -> list[tuple[str, str]]:
    return [
        (one["id"], json.loads(one["data"])["data"]["text"] if "event" not in one else "")
        async for one in found
        if "id" in one
    ]


@pytest.mark.django_db(transaction=True)
async def test_log_stream_of_an_ended_attempt_ends_at_the_end_of_its_output(
    ada: User, job: Job, running_attempt: Attempt
) -> None:
    await asyncio.to_thread(results.fail_attempt, running_attempt, "No.")
    write(job, b"caf\xc3\xa9 \xff\n")
    assert await texts(stream(ada, job)) == [("8", "caf\u00e9 \ufffd\n"), ("8", "")]
    assert await texts(stream(ada, job, **{"Last-Event-ID": "5"})) == [
        ("8", " \ufffd\n"),
        ("8", ""),
    ]


@pytest.mark.django_db(transaction=True)
async def test_log_stream_states_which_bytes_are_missing(
    ada: User, job: Job, running_attempt: Attempt
) -> None:
    await asyncio.to_thread(results.fail_attempt, running_attempt, "No.")
    write(job, b"head" + bytes(6) + b"tail", gap=Gap(4, 10))
    found = await texts(stream(ada, job))
    assert found[0] == ("4", "head")
    assert found[1][0] == "14"
    assert "bytes 4 to 9" in found[1][1]
    assert found[1][1].endswith("]\ntail")


@pytest.mark.django_db(transaction=True)
async def test_log_stream_follows_a_running_attempt_to_its_end(
    ada: User, job: Job, running_attempt: Attempt
) -> None:
    write(job, b"one\n")
    found = stream(ada, job)
    received: list[str] = []
    async for one in found:
        if one.get("event") == "end":
            received.append("end")
        elif "id" in one:
            received.append(one["id"])
            if len(received) == 1:
                write(job, b"two\n")
            elif len(received) == 2:
                write(job, b"last")
                await asyncio.to_thread(results.fail_attempt, running_attempt, "No.")
    assert received[:2] == ["4", "8"]
    assert received[-1] == "end"
    assert "12" in received
