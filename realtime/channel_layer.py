"""A channel layer over RabbitMQ whose groups are bindings on the exchange of job events.

It is based on `channels_rabbitmq` and replaces its handling of failures: one supervised connection
that reconnects after any error, a lock for each group, bounded queues, and a resync message to
every member after each reconnect, because events may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from typing import Any

import carehare
import orjson
from channels.exceptions import ChannelFull
from channels_rabbitmq.core import RabbitmqChannelLayer
from channels_rabbitmq.util import ChannelRecipient, deserialize_message, serialize_message

from realtime.amqp_consumer import consume, open_connection
from realtime.group_queues import GroupQueues
from realtime.outage_log import OutageLog
from realtime.transport import ALL_JOBS, EXCHANGE, binding_key, job_group

HANDSHAKE_SECONDS = 5.0
RPC_SECONDS = 5.0
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.1, 2.0
RESYNC = {"type": "resync"}
Message = dict[str, Any]

log = logging.getLogger(__name__)


class TopicChannelLayer(RabbitmqChannelLayer):
    """Delivers each event of a job once per process, as the bytes that the publisher sent."""

    def __init__(
        self, host: str, local_capacity: int = 1000, remote_capacity: int = 20_000
    ) -> None:
        super().__init__(host, local_capacity, remote_capacity, groups_exchange=EXCHANGE)
        self._multi_queue = GroupQueues(local_capacity)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._bound: set[str] = set()
        self._connection: carehare.Connection | None = None
        self._carehare_connection: asyncio.Future[carehare.Connection]
        self._outage = OutageLog(
            log,
            failure="Channel layer lost its RabbitMQ connection; reconnecting: %s",
            recovery="Channel layer is connected to RabbitMQ again.",
        )

    @property
    def carehare_connection(self) -> asyncio.Future[carehare.Connection]:
        """Shielded, because all callers share this future and one may be cancelled."""
        return asyncio.shield(super().carehare_connection)

    async def group_add(self, group: str, channel: str) -> None:
        """Return once bound; without a connection, the next one binds the group."""
        self._ensure_connecting()
        async with self._locks[group]:
            self._multi_queue.group_add(group, channel)
            await self._bind(group)

    async def group_discard(self, group: str, channel: str) -> None:
        async with self._locks[group]:
            if self._multi_queue.group_discard(group, channel) == 0 and group in self._bound:
                self._bound.discard(group)
                await self._call("queue_unbind", group)
        if not self._multi_queue.members(group) and not self._locks[group].locked():
            self._locks.pop(group, None)

    async def group_send(self, group: str, message: Message) -> None:
        """Publish an event frame. Other messages would break consumers of this exchange."""
        if not {"routing_key", "body"} <= message.keys():
            raise ValueError(
                f"Only event frames can be sent to {EXCHANGE}; the message needs the keys "
                f"routing_key and body and has {', '.join(message) or 'none'}."
            )
        await self._publish(EXCHANGE, message["routing_key"], message["body"])

    async def send(self, channel: str, message: Message) -> None:
        body = serialize_message(ChannelRecipient(channel), message)
        await self._publish("", channel.split("!", 1)[0], body)

    async def receive(self, channel: str) -> Message:
        return await self._multi_queue.receive(channel)

    async def close(self) -> None:
        self._want_close = True
        self._multi_queue.close()
        task = self.__dict__.pop("_reconnect_forever_task", None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _ensure_connecting(self) -> None:
        # The base class starts its connecting task when this property is first read.
        _ = super().carehare_connection

    async def _publish(self, exchange: str, routing_key: str, body: bytes) -> None:
        self._ensure_connecting()
        try:
            async with asyncio.timeout(RPC_SECONDS):
                connection = await self.carehare_connection
                await connection.publish(body, exchange_name=exchange, routing_key=routing_key)
        except (TimeoutError, carehare.ConnectionClosed, carehare.ServerSentNack) as error:
            raise ChannelFull(f"RabbitMQ did not accept the message: {error!r}") from error

    async def _bind(self, group: str) -> None:
        if group not in self._bound and await self._call("queue_bind", group):
            self._bound.add(group)

    async def _call(self, method: str, group: str) -> bool:
        """Bind or unbind; False where it failed, in which case the next connection binds anew."""
        connection = self._connection
        if connection is None:
            return False
        try:
            async with asyncio.timeout(RPC_SECONDS):
                await getattr(connection, method)(
                    self._queue_name, EXCHANGE, routing_key=binding_key(group)
                )
        except (TimeoutError, carehare.ConnectionClosed, carehare.ChannelClosed) as error:
            log.info("%s of %s is deferred to the next connection: %r", method, group, error)
            return False
        return connection is self._connection

    async def _reconnect_forever(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while not self._want_close:
            try:
                async with open_connection(self.host, HANDSHAKE_SECONDS) as connection:
                    await self._set_up(connection)
                    delay = FIRST_DELAY_SECONDS
                    await consume(connection, self._queue_name, self.local_capacity, self._deliver)
            except Exception as error:
                # Catch everything: if this task ended, the process would receive no more events.
                self._outage.record_failure(error)
            finally:
                self._connection = None
                self._bound.clear()
                if self._carehare_connection.done():
                    self._carehare_connection = asyncio.get_running_loop().create_future()
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_DELAY_SECONDS)

    async def _set_up(self, connection: carehare.Connection) -> None:
        """Declare exchange and queue, bind all groups, and have all members resync."""
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await connection.exchange_declare(EXCHANGE, exchange_type="topic")
            await connection.queue_declare(
                self._queue_name,
                exclusive=True,
                # A full queue drops its oldest messages instead of rejecting new ones.
                arguments={"x-max-length": self.remote_capacity, "x-overflow": "drop-head"},
            )
        self._connection = connection
        while unbound := self._multi_queue.groups() - self._bound:
            for group in unbound:
                async with self._locks[group]:
                    await self._bind(group)
                if self._multi_queue.members(group) and group not in self._bound:
                    raise ConnectionError(f"RabbitMQ did not bind {group}")
        self._carehare_connection.set_result(connection)
        self._outage.record_success()
        self._multi_queue.broadcast(RESYNC)

    def _deliver(self, body: bytes) -> None:
        try:
            if body[:1] == b"{":
                message = {"type": "frame", "body": body}
                group = job_group(orjson.loads(body)["data"]["job_id"])
                self._multi_queue.send_to_group(group, message)
                self._multi_queue.send_to_group(ALL_JOBS, message)
            else:
                recipient, message = deserialize_message(body)
                self._multi_queue.send(recipient.channel, message)
        except Exception as error:
            log.warning("Ignored a message that is not a Heimdall event: %r", error)
