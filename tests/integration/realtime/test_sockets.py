"""WebSockets on the embedded stack: authentication, access and frames."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.polling import eventually
from tests.sockets import closed_with, frame, open_socket, watch
from tests.stack import PASSWORD, Stack, running_stack

pytestmark = [pytest.mark.xdist_group("embedded"), pytest.mark.timeout(180)]


async def send(socket: ClientConnection, **words: Any) -> None:
    await socket.send(json.dumps(words))


@pytest.fixture(scope="module")
def done(embedded: Stack) -> str:
    """A job that has run."""
    job_id = embedded.submit(epochs=3)
    embedded.until(job_id, "completed")
    return job_id


def session_cookie(stack: Stack, name: str = "ada") -> str:
    with httpx.Client(base_url=stack.url) as browser:
        token = browser.get("/login").cookies["csrftoken"]
        form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": token}
        browser.post("/login", data=form)
        return f"sessionid={browser.cookies['sessionid']}"


async def test_first_frame_has_the_latest_seq(embedded: Stack, done: str) -> None:
    async with open_socket(embedded, f"/training/{done}") as socket:
        first = await frame(socket)
    seq = embedded.job(done)["seq"]
    assert first == {"event": "connected", "data": {"job_id": done, "seq": seq}}


async def test_stored_events_are_replayed_after_any_seq(embedded: Stack, done: str) -> None:
    everything = await watch(embedded, done)
    assert everything == embedded.events(done)
    assert await watch(embedded, done, after=4) == everything[4:]


async def test_uncompressed_socket_gets_the_same_frames(embedded: Stack, done: str) -> None:
    """Frames of each length that the protocol writes differently, the longest by a long name."""
    with embedded.api() as api:
        name = {"name": "x" * 200}
        made = api.post("/jobs", json={"dataset_id": embedded.dataset, "epochs": 1, **name})
    embedded.until(long := made.json()["id"], "completed")
    for job_id in (done, long):
        plain = open_socket(embedded, f"/training/{job_id}?after=0", compression=None)
        async with plain as socket:
            await frame(socket)
            assert [await frame(socket) for _ in embedded.events(job_id)] == embedded.events(job_id)
            await send(socket, action="ping")
            assert (await frame(socket))["event"] == "pong"


async def test_running_job_is_followed_live_without_a_broker(embedded: Stack) -> None:
    job_id = embedded.submit(epochs=5)
    frames = await watch(embedded, job_id)
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[-1]["data"]["status"] == "completed"


def token_with(embedded: Stack, who: str, scopes: list[str]) -> str:
    sent = {"username": who, "password": PASSWORD, "scopes": scopes}
    answer = httpx.post(f"{embedded.url}/api/v1/auth/token", json=sent)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


async def test_page_on_another_port_is_another_origin(embedded: Stack, done: str) -> None:
    cookie = {"Cookie": session_cookie(embedded)}
    for origin in ("http://127.0.0.1:1", embedded.url.replace("http:", "https:"), "null"):
        for path in ("", f"/training/{done}"):
            url = f"{embedded.ws}{path}"
            async with connect(url, additional_headers=cookie, origin=origin) as socket:  # type: ignore[arg-type]
                assert await closed_with(socket) == 4403


async def test_new_password_closes_sockets_of_earlier_sessions(embedded: Stack, done: str) -> None:
    cookie = {"Cookie": session_cookie(embedded, "bob")}
    async with connect(embedded.ws, additional_headers=cookie, origin=embedded.url) as socket:  # type: ignore[arg-type]
        assert (await frame(socket))["event"] == "connected"
        embedded.python(
            "-c",
            "import django; django.setup()\n"
            "from django.contrib.auth.models import User\n"
            "bob = User.objects.get(username='bob')\n"
            f"bob.set_password({PASSWORD!r}); bob.save()",
        )
        assert await closed_with(socket) == 4401


async def test_session_cookie_counts_for_the_same_origin_only(embedded: Stack, done: str) -> None:
    cookie = {"Cookie": session_cookie(embedded)}
    url = f"{embedded.ws}/training/{done}"
    ours, theirs = embedded.url, "https://evil.example"
    async with connect(url, additional_headers=cookie, origin=ours) as socket:  # type: ignore[arg-type]
        assert (await frame(socket))["event"] == "connected"
    async with connect(url, additional_headers=cookie, origin=theirs) as socket:  # type: ignore[arg-type]
        assert await closed_with(socket) == 4403


async def test_token_is_accepted_as_a_subprotocol(embedded: Stack, done: str) -> None:
    offered = ["heimdall", f"bearer.{embedded.tokens['ada']}"]
    async with connect(f"{embedded.ws}/training/{done}", subprotocols=offered) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "heimdall"
        assert (await frame(socket))["event"] == "connected"


async def test_token_needs_the_scope_read(embedded: Stack, done: str) -> None:
    for scopes, close_code in ((["report", "train"], 4403), (["read"], None)):
        headers = {"Authorization": f"Bearer {token_with(embedded, 'ada', scopes)}"}
        for path in ("", f"/training/{done}"):
            async with connect(f"{embedded.ws}{path}", additional_headers=headers) as socket:
                first = await frame(socket)
                if close_code is None:
                    assert first["event"] == "connected"
                    continue
                assert first["event"] == "error"
                assert first["data"]["code"] == "missing_scope"
                assert "lacks the scope 'read'" in first["data"]["message"]
                assert await closed_with(socket) == close_code


async def test_staff_with_a_token_without_admin_cannot_follow_jobs_of_others(
    embedded: Stack, done: str
) -> None:
    for scopes, is_visible in ((["read"], False), (["read", "admin"], True)):
        headers = {"Authorization": f"Bearer {token_with(embedded, 'grace', scopes)}"}
        url = f"{embedded.ws}/training/{done}"
        async with connect(url, additional_headers=headers) as socket:
            if is_visible:
                assert (await frame(socket))["event"] == "connected"
            else:
                assert await closed_with(socket) == 4404


async def test_missing_and_invalid_tokens_close_with_4401(embedded: Stack, done: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        for path in ("", f"/training/{done}"):
            async with connect(f"{embedded.ws}{path}", additional_headers=headers) as socket:
                assert await closed_with(socket) == 4401


async def test_invisible_and_unknown_jobs_close_with_4404(embedded: Stack, done: str) -> None:
    for path, who in ((done, "bob"), (str(uuid4()), "ada"), ("x", "ada")):
        async with open_socket(embedded, f"/training/{path}", who) as socket:
            assert await closed_with(socket) == 4404


async def test_ping_gets_a_pong(embedded: Stack) -> None:
    async with open_socket(embedded) as socket:
        await frame(socket)
        await send(socket, action="ping")
        assert (await frame(socket))["event"] == "pong"


async def test_invalid_frame_gets_an_error_and_the_socket_stays_open(
    embedded: Stack, done: str
) -> None:
    async with open_socket(embedded) as socket:
        await frame(socket)
        for nonsense, code in (("hello", "not_json"), ('{"action":"dance"}', "unknown_action")):
            await socket.send(nonsense)
            error = await frame(socket)
            assert (error["event"], error["data"]["code"]) == ("error", code)
        await send(socket, action="ping")
        assert (await frame(socket))["event"] == "pong"


async def test_invalid_cursor_gets_an_error_and_all_events(embedded: Stack, done: str) -> None:
    async with open_socket(embedded, f"/training/{done}?after=x") as socket:
        await frame(socket)
        assert (await frame(socket))["data"]["code"] == "bad_after"
        assert (await frame(socket))["seq"] == 1


async def test_subscribe_restricts_the_stream_to_the_job(embedded: Stack, done: str) -> None:
    async with open_socket(embedded) as socket:
        await frame(socket)
        await send(socket, action="subscribe", job_id=done, after=5)
        assert (await frame(socket))["seq"] == 6
        count = embedded.job(done)["seq"]
        for seq in range(7, count + 1):
            assert (await frame(socket))["seq"] == seq
        other = embedded.submit(epochs=1)
        embedded.until(other, "completed")
        with pytest.raises(TimeoutError):
            await frame(socket, 1)
        await send(socket, action="subscribe", job_id=other)
        assert (await frame(socket))["data"]["job_id"] == other
        await send(socket, action="unsubscribe", job_id=other)
        await send(socket, action="subscribe", job_id=str(uuid4()))
        while (error := await frame(socket))["event"] != "error":
            pass
        assert error["data"]["code"] == "no_such_job"


async def test_offered_compression_is_accepted(embedded: Stack, done: str) -> None:
    async with open_socket(embedded, f"/training/{done}") as socket:
        assert socket.response is not None
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]


async def test_stalled_client_does_not_delay_others(embedded: Stack) -> None:
    job_id = embedded.submit(epochs=120, patience=120)
    async with open_socket(embedded, f"/training/{job_id}") as stalled:
        # Nothing is read from it: its buffers fill, and its own task waits.
        frames = await asyncio.wait_for(watch(embedded, job_id), 150)
        assert frames[-1]["data"]["status"] == "completed"
        seqs: list[int] = []
        while len(seqs) < len(frames):
            event = await frame(stalled)
            if "seq" in event:
                seqs.append(event["seq"])
    assert seqs == list(range(1, len(frames) + 1))


async def test_server_shutdown_closes_sockets_with_1012(embedded: Stack, tmp_path: Any) -> None:
    with running_stack(tmp_path) as own:
        web = own.web
        assert web is not None
        async with open_socket(own) as socket:
            await frame(socket)
            web.terminate()
            assert await closed_with(socket) == 1012
        eventually(lambda: web.poll() is not None, 20)
        assert web.returncode == 0
