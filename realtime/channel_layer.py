"""A channel layer over RabbitMQ whose groups are bindings on the exchange of job events.

It is based on `channels_rabbitmq` and replaces its handling of failures: one supervised connection
that reconnects after any error, one task at a time for the binding of each group, bounded queues,
and a resync message to every member after each reconnect, because events may have been missed.

carehare sets the results of its futures itself and closes the connection where one was cancelled,
so nothing here cancels them: a caller that gives up leaves its task to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TypeVar

import carehare
import orjson
from channels.exceptions import ChannelFull
from channels_rabbitmq.core import RabbitmqChannelLayer
from channels_rabbitmq.util import ChannelRecipient, deserialize_message, serialize_message

from realtime.amqp_consumer import consume, ignore_exceptions, open_connection
from realtime.group_queues import GroupQueues, Message
from realtime.outage_log import OutageLog
from realtime.transport import ALL_JOBS, EXCHANGE, binding_key, job_group

HANDSHAKE_SECONDS = 5.0
RPC_SECONDS = 5.0
# Each call opens an AMQP channel of its own, of which RabbitMQ allows 2,047.
MAX_CONCURRENT_CALLS = 100
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.1, 2.0
RESYNC: Message = {"type": "resync"}

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class TopicChannelLayer(RabbitmqChannelLayer):
    """Delivers each event of a job once per process, as the bytes that the publisher sent."""

    def __init__(
        self, host: str, local_capacity: int = 1000, remote_capacity: int = 20_000
    ) -> None:
        super().__init__(host, local_capacity, remote_capacity, groups_exchange=EXCHANGE)
        self._multi_queue = GroupQueues(local_capacity)
        self._bound: set[str] = set()
        # The running tasks that bind or unbind a group.
        self._updates: dict[str, asyncio.Task[None]] = {}
        self._call_slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
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
        """Return once bound, or after a while; the binding is made even if the caller gives up."""
        self._ensure_connecting()
        self._multi_queue.group_add(group, channel)
        await self._wait_until_updated(group)

    async def group_discard(self, group: str, channel: str) -> None:
        if self._multi_queue.members(group):
            self._multi_queue.group_discard(group, channel)
        await self._wait_until_updated(group)

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
                await _uncancelled(
                    connection.publish(body, exchange_name=exchange, routing_key=routing_key)
                )
        except (TimeoutError, carehare.ConnectionClosed, carehare.ServerSentNack) as error:
            raise ChannelFull(f"RabbitMQ did not accept the message: {error!r}") from error

    async def _wait_until_updated(self, group: str) -> None:
        try:
            async with asyncio.timeout(RPC_SECONDS):
                await asyncio.shield(self._update(group))
        except TimeoutError:
            log.info("The binding of %s is late; it follows as soon as RabbitMQ answers.", group)

    def _update(self, group: str) -> asyncio.Task[None]:
        """The task that binds the group if it has members, and else unbinds it."""
        if (task := self._updates.get(group)) is None:
            task = self._updates[group] = asyncio.ensure_future(self._update_binding(group))
        return task

    async def _update_binding(self, group: str) -> None:
        # One call at a time: RabbitMQ may process those of different channels in any order.
        try:
            while (connection := self._connection) is not None:
                has_members = bool(self._multi_queue.members(group))
                if has_members == (group in self._bound):
                    return
                call = connection.queue_bind if has_members else connection.queue_unbind
                try:
                    async with self._call_slots:
                        await _uncancelled(
                            call(self._queue_name, EXCHANGE, routing_key=binding_key(group))
                        )
                except carehare.ConnectionClosed:
                    if connection is self._connection:
                        return  # the next connection binds the group
                except carehare.ChannelClosed as error:
                    log.warning("RabbitMQ refused the binding of %s; retrying: %r", group, error)
                    await asyncio.sleep(MAX_DELAY_SECONDS)
                else:
                    if connection is self._connection:
                        (self._bound.add if has_members else self._bound.discard)(group)
        finally:
            del self._updates[group]

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
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await _uncancelled(connection.exchange_declare(EXCHANGE, exchange_type="topic"))
            await _uncancelled(
                connection.queue_declare(
                    self._queue_name,
                    exclusive=True,
                    # A full queue drops its oldest messages instead of rejecting new ones.
                    arguments={"x-max-length": self.remote_capacity, "x-overflow": "drop-head"},
                )
            )
        self._connection = connection
        while unbound := self._multi_queue.groups() - self._bound:
            # For any number of groups: the connection is closed only if the broker answers nothing.
            updates = [self._update(group) for group in unbound]
            done, _ = await asyncio.wait(updates, timeout=RPC_SECONDS)
            if not done or connection.closed.done():
                raise ConnectionError("RabbitMQ did not bind the groups of this process")
        self._carehare_connection.set_result(connection)
        self._outage.record_success()
        self._multi_queue.broadcast(RESYNC)

    def _deliver(self, body: bytes) -> None:
        try:
            if body[:1] == b"{":
                message: Message = {"type": "frame", "body": body}
                group = job_group(orjson.loads(body)["data"]["job_id"])
                self._multi_queue.send_to_group(group, message)
                self._multi_queue.send_to_group(ALL_JOBS, message)
            else:
                recipient, message = deserialize_message(body)
                self._multi_queue.send(recipient.channel, message)
        except Exception as error:
            log.warning("Ignored a message that is not a Heimdall event: %r", error)


async def _uncancelled(call: asyncio.Future[Result]) -> Result:
    """The result of a call of carehare, which continues if the caller is cancelled."""
    ignore_exceptions(call)
    return await asyncio.shield(call)
