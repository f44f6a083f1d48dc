"""The WebSocket consumer: authentication, client actions and delivery of frames."""

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
from realtime.metrics import REFUSED_CONNECTIONS
from realtime.protocol import Close, InvalidFrameError, Ping, Subscribe, Unsubscribe
from realtime.rate_limit import TokenBucket
from realtime.subscription import Subscription

MAX_SUBSCRIBED_JOBS = 1000

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
UserForToken = Callable[[str], Any]


class JobEventsConsumer:
    """An ASGI application for `/ws` and `/ws/training/{job_id}`."""

    def __init__(self, get_hub: Callable[[], Hub], user_for_token: UserForToken) -> None:
        self._get_hub, self._user_for_token = get_hub, user_for_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        credential, close_code = await self._authenticate(scope)
        supported = protocol.SUBPROTOCOL in scope["subprotocols"]
        subprotocol = protocol.SUBPROTOCOL if supported else None
        # Accept first: a browser sees the close code of an accepted connection only.
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        if credential is None:
            code = close_code or Close.NOT_AUTHENTICATED
            await send({"type": "websocket.close", "code": code})
            REFUSED_CONNECTIONS.labels(code).inc()
            return
        try:
            subscription = Subscription(self._get_hub(), credential.user_id)
            with connections.register(credential, subscription.jobs) as connection:
                await _WebSocketSession(subscription, connection, scope, receive, send).run()
        except connections.TooManyConnectionsError as error:
            log.warning("Refused a WebSocket of user %s: %s", credential.user_id, error)
            await send({"type": "websocket.send", "text": protocol.error("too_many", str(error))})
            await send({"type": "websocket.close", "code": Close.TOO_MANY})
            REFUSED_CONNECTIONS.labels(Close.TOO_MANY).inc()

    async def _authenticate(self, scope: Scope) -> tuple[connections.Credential | None, int | None]:
        """Return the credential, or else a close code (None for the default).

        The session cookie counts only for pages of the same origin; a token counts from anywhere.
        """
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
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for offered in subprotocols:
        if offered.startswith(protocol.BEARER):
            return offered.removeprefix(protocol.BEARER)
    return None


def _is_same_origin(origin: str) -> bool:
    validator = OriginValidator(None, settings.ALLOWED_HOSTS)
    return bool(validator.valid_origin(urlsplit(origin)))


class _WebSocketSession:
    """One open WebSocket: two tasks, which receive actions and deliver frames independently."""

    def __init__(
        self,
        subscription: Subscription,
        connection: connections.Connection,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._subscription, self._connection, self._scope = subscription, connection, scope
        self._receive, self._send = receive, send
        self._rate_limiter = TokenBucket()

    async def run(self) -> None:
        try:
            if await self._open():
                sender = asyncio.ensure_future(self._deliver())
                receiver = asyncio.ensure_future(self._handle_actions())
                closed = self._connection.closed
                waited: set[asyncio.Future[Any]] = {sender, receiver, closed}
                try:
                    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await _cancel(sender, receiver)
                if closed.done():
                    await self._close(closed.result())
        except Exception as error:
            # Usually the database is unavailable; a client that reconnects may be served again.
            log.warning("Closed a WebSocket after an error: %r", error)
            await self._send({"type": "websocket.close", "code": Close.SERVICE_RESTART})
        finally:
            await self._subscription.close()

    async def _open(self) -> bool:
        """Subscribe as the URL says and send the first frame; False if the job is not visible."""
        job_param: str | None = self._scope["url_route"]["kwargs"].get("job_id")
        if job_param is None:
            await self._subscription.subscribe_all()
            await self._send_text(protocol.connected(None, None))
            return True
        job_id = UUID(job_param)
        if not await self._subscription.can_view(job_id):
            await self._send({"type": "websocket.close", "code": Close.NOT_FOUND})
            return False
        query = parse_qs(self._scope["query_string"].decode("latin1"))
        after, error_frame = 0, None
        try:
            after = protocol.cursor(query.get("after", ["0"])[-1])
        except InvalidFrameError as error:
            error_frame = protocol.error(error.code, f"{error} Sending all events.")
        latest_seq = await self._subscription.subscribe(job_id, after)
        await self._send_text(protocol.connected(job_id, latest_seq))
        if error_frame:
            await self._send_text(error_frame)
        return True

    async def _deliver(self) -> None:
        async for body in self._subscription.frames():
            await self._send_text(body.decode())

    async def _handle_actions(self) -> None:
        while (message := await self._receive())["type"] != "websocket.disconnect":
            if not self._rate_limiter.try_acquire():
                await self._close(Close.TOO_MANY)
                return
            try:
                await self._handle_action(message.get("text"))
            except InvalidFrameError as error:
                await self._send_text(protocol.error(error.code, str(error)))

    async def _handle_action(self, text: str | None) -> None:
        action = protocol.parse(text)
        match action:
            case Ping():
                await self._send_text(protocol.pong(datetime.now(UTC)))
            case Subscribe() | Unsubscribe() if "job_id" in self._scope["url_route"]["kwargs"]:
                raise InvalidFrameError(
                    "one_job", "This WebSocket is for one job; use /ws to subscribe to others."
                )
            case Subscribe(job_id, after):
                if not await self._subscription.can_view(job_id):
                    raise InvalidFrameError(
                        "no_such_job", f"Job {job_id} does not exist, or you cannot view it."
                    )
                await self._subscription.unsubscribe_all()
                await self._subscription.unsubscribe(job_id)
                if len(self._subscription.jobs()) >= MAX_SUBSCRIBED_JOBS:
                    raise InvalidFrameError(
                        "too_many",
                        f"At most {MAX_SUBSCRIBED_JOBS} jobs per WebSocket; unsubscribe from some.",
                    )
                await self._subscription.subscribe(job_id, after)
            case Unsubscribe(job_id):
                await self._subscription.unsubscribe(job_id)

    async def _close(self, code: int) -> None:
        REFUSED_CONNECTIONS.labels(code).inc()
        await self._send({"type": "websocket.close", "code": code})

    async def _send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
