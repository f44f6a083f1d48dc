"""The sockets: who is there, what they follow, and two tasks that neither wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from channels.db import database_sync_to_async
from channels.security.websocket import OriginValidator
from django.conf import settings

from realtime import connections, protocol
from realtime.hub import Hub
from realtime.metrics import REFUSED
from realtime.protocol import Close, InvalidFrameError, Ping, Subscribe, Unsubscribe
from realtime.subscription import Subscription

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
UserForToken = Callable[[str], Any]


class JobEventsConsumer:
    """An ASGI application for `/ws` and `/ws/training/{job_id}`."""

    def __init__(self, hub: Callable[[], Hub], user_for_token: UserForToken) -> None:
        self._hub, self._user_for_token = hub, user_for_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        credential, refused = await self._who(scope)
        spoken = protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in scope["subprotocols"] else None
        # A browser is told the reason of a refusal only on a socket that was open.
        await send({"type": "websocket.accept", "subprotocol": spoken})
        if credential is None:
            code = refused or Close.NOT_AUTHENTICATED
            await send({"type": "websocket.close", "code": code})
            REFUSED.labels(code).inc()
            return
        try:
            watch = Subscription(self._hub(), credential.user_id)
            with connections.register(credential, watch.jobs) as line:
                await _WebSocketSession(watch, line, scope, receive, send).run()
        except connections.TooManyConnectionsError as error:
            log.warning("User %s: %s", credential.user_id, error)
            await send({"type": "websocket.send", "text": protocol.error("too_many", str(error))})
            await send({"type": "websocket.close", "code": Close.TOO_MANY})
            REFUSED.labels(Close.TOO_MANY).inc()

    async def _who(self, scope: Scope) -> tuple[connections.Credential | None, int | None]:
        """Who comes, or why nobody is let in. A page of another site must not use the cookie."""
        headers = dict(scope["headers"])
        token = _token(headers.get(b"authorization", b"").decode("latin1"), scope["subprotocols"])
        if token is not None:
            user = await database_sync_to_async(self._user_for_token, thread_sensitive=False)(token)
            return (connections.Credential(user.pk, token=token) if user else None), None
        origin = headers.get(b"origin")
        if origin is not None and not _is_same_origin(origin.decode("latin1")):
            return None, Close.FORBIDDEN
        user = scope["user"]
        if not user.is_authenticated or not user.is_active:
            return None, None
        return connections.Credential(user.pk, session=scope["session"].session_key), None


def _token(authorization: str, subprotocols: list[str]) -> str | None:
    kind, _, token = authorization.partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    for offered in subprotocols:
        if offered.startswith(protocol.BEARER):
            return offered.removeprefix(protocol.BEARER)
    return None


def _is_same_origin(origin: str) -> bool:
    allowed = OriginValidator(None, settings.ALLOWED_HOSTS)
    return bool(allowed.valid_origin(urlsplit(origin)))


class _WebSocketSession:
    """One open socket: what the client says is answered while what it follows is sent."""

    def __init__(
        self,
        watch: Subscription,
        line: connections.Connection,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._watch, self._line, self._scope = watch, line, scope
        self._receive, self._send = receive, send
        self._may_say = connections.TokenBucket()

    async def run(self) -> None:
        try:
            if await self._open():
                sender = asyncio.ensure_future(self._deliver())
                listener = asyncio.ensure_future(self._listen())
                ends: set[asyncio.Future[Any]] = {sender, listener, self._line.over}
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await _end(sender, listener)
                if self._line.over.done():
                    await self._refuse(self._line.over.result())
        except Exception as error:
            # Most likely the database is away: who comes back soon is served then.
            log.warning("A socket was closed: %r", error)
            await self._send({"type": "websocket.close", "code": Close.SERVICE_RESTART})
        finally:
            await self._watch.close()

    async def _open(self) -> bool:
        named: str | None = self._scope["url_route"]["kwargs"].get("job_id")
        if named is None:
            await self._watch.follow_everything()
            await self._text(protocol.connected(None, None))
            return True
        job_id = UUID(named)
        if not await self._watch.may_see(job_id):
            await self._send({"type": "websocket.close", "code": Close.NOT_FOUND})
            return False
        query = parse_qs(self._scope["query_string"].decode("latin1"))
        after, problem = 0, None
        try:
            after = protocol.cursor(query.get("after", ["0"])[-1])
        except InvalidFrameError as error:
            problem = protocol.error(error.code, f"{error} All events follow.")
        head = await self._watch.follow(job_id, after)
        await self._text(protocol.connected(job_id, head))
        if problem:
            await self._text(problem)
        return True

    async def _deliver(self) -> None:
        async for body in self._watch.frames():
            await self._text(body.decode())

    async def _listen(self) -> None:
        while (message := await self._receive())["type"] != "websocket.disconnect":
            if not self._may_say.take():
                await self._refuse(Close.TOO_MANY)
                return
            try:
                await self._answer(message.get("text"))
            except InvalidFrameError as error:
                await self._text(protocol.error(error.code, str(error)))

    async def _answer(self, text: str | None) -> None:
        action = protocol.parse(text)
        match action:
            case Ping():
                await self._text(protocol.pong(datetime.now(UTC)))
            case Subscribe() | Unsubscribe() if "job_id" in self._scope["url_route"]["kwargs"]:
                raise InvalidFrameError("one_job", "This socket has one job; subscribe on /ws.")
            case Subscribe(job_id, after):
                if not await self._watch.may_see(job_id):
                    raise InvalidFrameError(
                        "no_such_job", f"There is no job {job_id} that you may see."
                    )
                await self._watch.unfollow_everything()
                await self._watch.unfollow(job_id)
                if self._watch.count >= connections.MAX_FOLLOWED_JOBS:
                    raise InvalidFrameError(
                        "too_many", f"{connections.MAX_FOLLOWED_JOBS} jobs at most; leave some."
                    )
                await self._watch.follow(job_id, after)
            case Unsubscribe(job_id):
                await self._watch.unfollow(job_id)

    async def _refuse(self, code: int) -> None:
        REFUSED.labels(code).inc()
        await self._send({"type": "websocket.close", "code": code})

    async def _text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
