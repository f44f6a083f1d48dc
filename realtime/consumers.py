"""The WebSocket consumer: authentication, client actions and delivery of frames."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import parse_cookie

from realtime import connections, protocol
from realtime.hub import Hub
from realtime.metrics import REFUSED_CONNECTIONS
from realtime.origin import is_same_origin
from realtime.outage_log import OutageLog
from realtime.protocol import (
    Close,
    Cursor,
    InvalidFrameError,
    Ping,
    Subscribe,
    Unsubscribe,
)
from realtime.rate_limit import TokenBucket
from realtime.subscription import Subscription, Write

MAX_SUBSCRIBED_JOBS = 1000

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

log = logging.getLogger(__name__)


class UrlRoute(TypedDict):
    kwargs: dict[str, str]


# Extensions of the server: `heimdall.write` writes text messages immediately.
Extensions = TypedDict("Extensions", {"heimdall.write": NotRequired[Write]})


class Scope(TypedDict):
    """The keys of the ASGI scope that are used here, including the route that Channels adds."""

    scheme: NotRequired[str]  # daphne sends none
    server: NotRequired[tuple[str, int | None] | None]
    headers: list[tuple[bytes, bytes]]
    query_string: bytes
    subprotocols: list[str]
    extensions: NotRequired[Extensions]
    url_route: UrlRoute


class ClientMessage(TypedDict):
    type: Literal["websocket.connect", "websocket.receive", "websocket.disconnect"]
    text: NotRequired[str | None]


class AcceptMessage(TypedDict):
    type: Literal["websocket.accept"]
    subprotocol: NotRequired[str | None]


class SendMessage(TypedDict):
    type: Literal["websocket.send"]
    text: str


class CloseMessage(TypedDict):
    type: Literal["websocket.close"]
    code: int


Receive = Callable[[], Awaitable[ClientMessage]]
Send = Callable[[AcceptMessage | SendMessage | CloseMessage], Awaitable[None]]


class TokenCredential(Protocol):
    @property
    def scopes(self) -> Collection[str]: ...
    @property
    def withheld_staff(self) -> bool: ...


UserForToken = Callable[[str], "tuple[AbstractBaseUser, TokenCredential] | None"]
# By the session's key; None if it is not signed in.
UserForSession = Callable[[str], "AbstractBaseUser | None"]
SCOPE = "read"  # which a token needs


class RefusedError(Exception):
    """The client may not connect; it gets an error frame with the message, if there is one."""

    def __init__(self, close_code: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.close_code, self.code, self.message = close_code, code, message


class JobEventsConsumer:
    """An ASGI application for `/ws` and `/ws/training/{job_id}`."""

    def __init__(
        self,
        get_hub: Callable[[], Hub],
        user_for_token: UserForToken,
        user_for_session: UserForSession,
        max_connections: Callable[[int], int] | None = None,
    ) -> None:
        """`max_connections` is the limit by user ID."""
        self._get_hub = get_hub
        self._user_for_token, self._user_for_session = user_for_token, user_for_session
        self._max_connections = max_connections
        self._outage = OutageLog(
            log,
            "WebSockets cannot be authenticated (%s); they are closed until the database is "
            "available.",
            "WebSockets are authenticated again.",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        refused = None
        try:
            credential = await self._authenticate(scope)
            maximum = await self._find_limit(credential.user_id)
            self._outage.record_success()
        except RefusedError as error:
            refused = error
        except (InterfaceError, OperationalError) as error:
            # A client that reconnects may be served again.
            self._outage.record_failure(error)
            refused = RefusedError(Close.SERVICE_RESTART)
        supported = protocol.SUBPROTOCOL in scope["subprotocols"]
        subprotocol = protocol.SUBPROTOCOL if supported else None
        # Accept first: a browser sees the close code of an accepted connection only.
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        if refused is not None:
            if refused.code:
                text = protocol.error(refused.code, refused.message)
                await send({"type": "websocket.send", "text": text})
            await send({"type": "websocket.close", "code": refused.close_code})
            REFUSED_CONNECTIONS.labels(refused.close_code).inc()
            return
        try:
            place = connections.Place(credential.user_id, maximum)
            write = scope.get("extensions", {}).get("heimdall.write")
            subscription = Subscription(self._get_hub(), credential.viewer, write)
            with connections.register(credential, subscription.jobs, place) as connection:
                await _WebSocketSession(subscription, connection, scope, receive, send).run()
        except connections.TooManyConnectionsError as error:
            log.warning("Refused a WebSocket of user %s: %s", credential.user_id, error)
            await send({"type": "websocket.send", "text": protocol.error("too_many", str(error))})
            await send({"type": "websocket.close", "code": Close.TOO_MANY})
            REFUSED_CONNECTIONS.labels(Close.TOO_MANY).inc()

    async def _find_limit(self, user_id: int) -> int | None:
        if self._max_connections is None:
            return None
        return await self._get_hub().shared_calls.run(self._max_connections, user_id)

    async def _authenticate(self, scope: Scope) -> connections.Credential:
        """Return the credential, or raise RefusedError.

        The session cookie counts only for pages of the same origin; a token counts from anywhere.
        """
        headers = dict(scope["headers"])
        token = _token(headers.get(b"authorization", b"").decode("latin1"), scope["subprotocols"])
        if token is not None:
            found = await self._get_hub().shared_calls.run(self._user_for_token, token)
            if found is None:
                raise RefusedError(Close.NOT_AUTHENTICATED)
            user, permitted = found
            if SCOPE not in permitted.scopes:
                message = f"This token lacks the scope {SCOPE!r}, which a WebSocket needs."
                raise RefusedError(Close.FORBIDDEN, "missing_scope", message)
            return connections.Credential(
                user.pk, token=token, as_staff=not permitted.withheld_staff
            )
        if not is_same_origin(scope):
            raise RefusedError(Close.FORBIDDEN)
        cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin1"))
        session = cookies.get(settings.SESSION_COOKIE_NAME, "")
        run = self._get_hub().shared_calls.run
        signed_in = await run(self._user_for_session, session) if session else None
        if signed_in is None:
            raise RefusedError(Close.NOT_AUTHENTICATED)
        return connections.Credential(signed_in.pk, session=session)


def _token(authorization: str, subprotocols: list[str]) -> str | None:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for offered in subprotocols:
        if offered.startswith(protocol.BEARER):
            return offered.removeprefix(protocol.BEARER)
    return None


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
        job_param: str | None = self._scope["url_route"]["kwargs"].get("job_id")
        if job_param is None:
            await self._subscription.subscribe_all()
            await self._send_text(protocol.connected())
            return True
        job_id = UUID(job_param)
        if not await self._subscription.can_view(job_id):
            await self._send({"type": "websocket.close", "code": Close.NOT_FOUND})
            return False
        query = parse_qs(self._scope["query_string"].decode("latin1"))
        after, error_frame = Cursor(), None
        try:
            after = protocol.cursor(
                query.get("after", ["0"])[-1], query.get("timestamp", [None])[-1]
            )
        except InvalidFrameError as error:
            error_frame = protocol.error(error.code, f"{error} Sending all events.")
        found = await self._subscription.subscribe(job_id, after)
        await self._send_text(protocol.connected(job_id, found.latest_seq, reset=found.reset))
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
                found = await self._subscription.subscribe(job_id, after)
                if found.reset:
                    text = protocol.connected(job_id, found.latest_seq, reset=True)
                    await self._send_text(text)
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
