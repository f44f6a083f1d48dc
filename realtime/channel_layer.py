"""The channel layer over RabbitMQ: its groups are bindings on the exchange of events.

`channels_rabbitmq` stays the base; what it does on a bad day is done here instead: one supervised
connection that is tried again whatever went wrong, a lock for each group, bounded mailboxes, and a
word to every member after each reconnect that it should look at the rows.
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
from realtime.transport import ALL_JOBS, EXCHANGE, binding_key, group_of

HANDSHAKE_SECONDS = 5.0
RPC_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
RESYNC = {"type": "look"}
Message = dict[str, Any]

log = logging.getLogger(__name__)


class TopicChannelLayer(RabbitmqChannelLayer):
    """A job's group hears each event once, as the publisher's bytes."""

    def __init__(
        self, host: str, local_capacity: int = 1000, remote_capacity: int = 20_000
    ) -> None:
        super().__init__(host, local_capacity, remote_capacity, groups_exchange=EXCHANGE)
        self._multi_queue = GroupQueues(local_capacity)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._bound: set[str] = set()
        self._live: carehare.Connection | None = None
        self._carehare_connection: asyncio.Future[carehare.Connection]
        self._well = True

    @property
    def carehare_connection(self) -> asyncio.Future[carehare.Connection]:
        """Everyone waits for this future: nobody who gives up may cancel it for the others."""
        return asyncio.shield(super().carehare_connection)

    async def group_add(self, group: str, channel: str) -> None:
        """Returns once bound; while the broker is away the next connection binds it."""
        self._supervised()
        async with self._locks[group]:
            self._multi_queue.group_add(group, channel)
            await self._bind(group)

    async def group_discard(self, group: str, channel: str) -> None:
        async with self._locks[group]:
            if self._multi_queue.group_discard(group, channel) == 0 and group in self._bound:
                self._bound.discard(group)
                await self._ask("queue_unbind", group)
        if not self._multi_queue.members(group) and not self._locks[group].locked():
            self._locks.pop(group, None)

    async def group_send(self, group: str, message: Message) -> None:
        """Publish an event's frame; anything else on this exchange would be poison to others."""
        if not {"routing_key", "body"} <= message.keys():
            raise ValueError(f"Only frames of events go to {EXCHANGE}: routing_key and body")
        await self._publish(EXCHANGE, message["routing_key"], message["body"])

    async def send(self, channel: str, message: Message) -> None:
        body = serialize_message(ChannelRecipient(channel), message)
        await self._publish("", channel.split("!", 1)[0], body)

    async def receive(self, channel: str) -> Message:
        return await self._multi_queue.get(channel)

    async def close(self) -> None:
        self._want_close = True
        self._multi_queue.close()
        task = self.__dict__.pop("_reconnect_forever_task", None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _supervised(self) -> None:
        """The base starts the task that connects when the future is asked for first."""
        _ = super().carehare_connection

    async def _publish(self, exchange: str, routing_key: str, body: bytes) -> None:
        self._supervised()
        try:
            async with asyncio.timeout(RPC_SECONDS):
                connection = await self.carehare_connection
                await connection.publish(body, exchange_name=exchange, routing_key=routing_key)
        except (TimeoutError, carehare.ConnectionClosed, carehare.ServerSentNack) as error:
            raise ChannelFull(f"RabbitMQ does not take the message: {error!r}") from error

    async def _bind(self, group: str) -> None:
        if group not in self._bound and await self._ask("queue_bind", group):
            self._bound.add(group)

    async def _ask(self, call: str, group: str) -> bool:
        """Bind or unbind on the living connection; a lost one is bound anew by its successor."""
        connection = self._live
        if connection is None:
            return False
        try:
            async with asyncio.timeout(RPC_SECONDS):
                await getattr(connection, call)(
                    self._queue_name, EXCHANGE, routing_key=binding_key(group)
                )
        except (TimeoutError, carehare.ConnectionClosed, carehare.ChannelClosed) as error:
            log.info("%s of %s waits for the next connection: %r", call, group, error)
            return False
        return connection is self._live

    async def _reconnect_forever(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._want_close:
            try:
                async with open_connection(self.host, HANDSHAKE_SECONDS) as connection:
                    await self._set_up(connection)
                    pause = FIRST_PAUSE_SECONDS
                    await consume(connection, self._queue_name, self.local_capacity, self._deliver)
            except Exception as error:
                # Whatever it was: without this task the whole process would hear nothing more.
                if self._well:
                    log.warning("The channel layer lost RabbitMQ and tries again: %r", error)
                self._well = False
            finally:
                self._live = None
                self._bound.clear()
                if self._carehare_connection.done():
                    self._carehare_connection = asyncio.get_running_loop().create_future()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _set_up(self, connection: carehare.Connection) -> None:
        """Declare, bind every group again, and tell all members that they may have missed some."""
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await connection.exchange_declare(EXCHANGE, exchange_type="topic")
            await connection.queue_declare(
                self._queue_name,
                exclusive=True,
                # A full queue must neither refuse the publisher nor keep the oldest.
                arguments={"x-max-length": self.remote_capacity, "x-overflow": "drop-head"},
            )
        self._live = connection
        while waiting := self._multi_queue.groups() - self._bound:
            for group in waiting:
                async with self._locks[group]:
                    await self._bind(group)
                if self._multi_queue.members(group) and group not in self._bound:
                    raise ConnectionError(f"RabbitMQ did not bind {group}")
        self._carehare_connection.set_result(connection)
        if not self._well:
            log.warning("The channel layer has RabbitMQ again.")
        self._well = True
        self._multi_queue.tell_all(RESYNC)

    def _deliver(self, body: bytes) -> None:
        try:
            if body[:1] == b"{":
                message = {"type": "frame", "body": body}
                self._multi_queue.to_group(group_of(orjson.loads(body)["data"]["job_id"]), message)
                self._multi_queue.to_group(ALL_JOBS, message)
            else:
                recipient, message = deserialize_message(body)
                self._multi_queue.to_channel(recipient.channel, message)
        except Exception as error:
            log.warning("Refused a message that is no event of Heimdall: %r", error)
