"""Limits on open sockets and streams, and closing them when their credential ends."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.integration.realtime.test_sockets import session_cookie
from tests.sockets import closed_with, frame, open_socket
from tests.stack import PASSWORD, Stack

pytestmark = [pytest.mark.xdist_group("lines"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server that gives each user two lines."""
    running = Stack(tmp_path_factory.mktemp("lines"), HEIMDALL_SOCKETS_PER_USER="2")
    try:
        running.start_web()
        yield running
    finally:
        running.close()


def refused(stack: Stack, code: int) -> float:
    metrics = httpx.get(f"{stack.url}/metrics").text
    name = f'heimdall_sockets_refused_total{{code="{code}"}}'
    found = [line.split()[-1] for line in metrics.splitlines() if line.startswith(name)]
    return float(found[0]) if found else 0.0


async def test_connection_limit_applies_per_user(
    two: Stack,
) -> None:
    before = refused(two, 4429)
    async with open_socket(two) as first, open_socket(two) as second:
        await frame(first)
        await frame(second)
        async with open_socket(two) as third:
            error_frame = await frame(third)
            assert "already have 2 open connections" in error_frame["data"]["message"]
            assert await closed_with(third) == 4429
        job_id = two.submit(epochs=1)
        with two.api() as api:
            assert api.get(f"/jobs/{job_id}/events/stream").status_code == 429
        async with open_socket(two, who="bob") as other:
            assert (await frame(other))["event"] == "connected"
    assert refused(two, 4429) == before + 1


async def test_too_many_frames_close_with_4429_and_too_long_ones_with_1009(
    two: Stack,
) -> None:
    async with open_socket(two) as socket:
        await frame(socket)
        for _ in range(300):
            await socket.send('{"action":"ping"}')
        assert await closed_with(socket) == 4429
    async with open_socket(two, compression=None) as socket:
        await frame(socket)
        fits = json.dumps({"action": "x" * 60_000})
        await socket.send(fits)
        assert (await frame(socket))["data"]["code"] == "unknown_action"
        await socket.send(fits + " " * 6000)
        assert await closed_with(socket) == 1009


def fresh_token(stack: Stack) -> tuple[int, str]:
    body = {"username": "ada", "password": PASSWORD}
    token = httpx.post(f"{stack.url}/api/v1/auth/token", json=body).json()
    return token["id"], token["token"]


def write(stack: Stack, statement: str, *values: object) -> None:
    with sqlite3.connect(stack.folder / "heimdall.sqlite3", timeout=20) as rows:
        rows.execute(statement, values)


async def test_revoked_token_closes_only_its_own_socket(two: Stack) -> None:
    pk, token = fresh_token(two)
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(two.ws, additional_headers=headers) as socket, open_socket(two) as other:
        await frame(socket)
        await frame(other)
        async with httpx.AsyncClient(headers=headers) as program:
            gone = await program.delete(f"{two.url}/api/v1/auth/tokens/{pk}")
        assert gone.status_code == 204
        assert await closed_with(socket) == 4401
        await other.send('{"action":"ping"}')
        while (await frame(other))["event"] != "pong":  # a job of another test may be heard
            pass


async def test_expired_token_closes_socket_and_event_stream(two: Stack) -> None:
    pk, token = fresh_token(two)
    headers = {"Authorization": f"Bearer {token}"}
    job = f"{two.url}/api/v1/training/jobs/{two.submit(epochs=1)}"
    async with (
        connect(two.ws, additional_headers=headers) as socket,
        httpx.AsyncClient(headers=headers, timeout=20) as program,
        program.stream("GET", f"{job}/events/stream") as stream,
    ):
        await frame(socket)
        write(two, "UPDATE training_apitoken SET expires_at = '2020-01-01' WHERE id = ?", pk)
        assert await closed_with(socket) == 4401
        async with asyncio.timeout(20):
            assert "connected" in "".join([part async for part in stream.aiter_text()])
        assert (await program.get(f"{job}/events/stream")).status_code == 401


async def test_sign_out_and_deactivation_close_sockets(two: Stack) -> None:
    cookie = {"Cookie": session_cookie(two, "bob")}
    async with (
        connect(two.ws, additional_headers=cookie) as page,
        open_socket(two, who="grace") as program,
    ):
        await frame(page)
        await frame(program)
        key = cookie["Cookie"].partition("=")[2]
        write(two, "DELETE FROM training_usersession WHERE session_key = ?", key)
        assert await closed_with(page) == 4401
        write(two, "UPDATE auth_user SET is_active = 0 WHERE username = 'grace'")
        assert await closed_with(program) == 4401


async def test_leaving_a_team_closes_sockets_of_its_jobs(two: Stack) -> None:
    job_id = two.submit(epochs=1)
    member_of = "INSERT INTO auth_user_groups (user_id, group_id) SELECT id, 7 FROM auth_user"
    write(two, "INSERT INTO auth_group (id, name) VALUES (7, 'field')")
    write(two, f"{member_of} WHERE username = 'bob'")
    write(two, "UPDATE training_job SET team_id = 7 WHERE id = ?", UUID(job_id).hex)
    async with open_socket(two, f"/training/{job_id}", "bob") as member, open_socket(two) as owner:
        assert (await frame(member))["event"] == "connected"
        await frame(owner)
        write(two, "DELETE FROM auth_user_groups")
        assert await closed_with(member) == 1012
        await owner.send('{"action":"ping"}')
        while (await frame(owner))["event"] != "pong":
            pass
    async with open_socket(two, f"/training/{job_id}", "bob") as again:
        assert await closed_with(again) == 4404
