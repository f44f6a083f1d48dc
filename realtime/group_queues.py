"""Group membership of this process and a bounded queue per channel that drops the oldest first."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import Literal, NotRequired, TypedDict

from channels.exceptions import StopConsumer


class Message(TypedDict):
    """Between publisher and hub: an event frame, or the request to read the latest seqs again."""

    type: Literal["frame", "resync"]
    routing_key: NotRequired[str]
    body: NotRequired[bytes]


class GroupQueues:
    """Replaces the base layer's queue: a channel that does not read loses its oldest messages."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._queues: dict[str, asyncio.Queue[Message | None]] = {}
        self._groups: defaultdict[str, set[str]] = defaultdict(set)
        self._readers: Counter[str] = Counter()

    def group_add(self, group: str, channel: str) -> int:
        self._queue(channel)
        self._groups[group].add(channel)
        return len(self._groups[group])

    def group_discard(self, group: str, channel: str) -> int:
        """Return the number of remaining members; drop the queue of a channel without groups."""
        members = self._groups[group]
        members.discard(channel)
        remaining = len(members)
        if not remaining:
            del self._groups[group]
        if not any(channel in others for others in self._groups.values()):
            self._drop_queue(channel)
        return remaining

    def groups(self) -> set[str]:
        return set(self._groups)

    def members(self, group: str) -> frozenset[str]:
        return frozenset(self._groups.get(group, ()))

    def send_to_group(self, group: str, message: Message) -> None:
        for channel in self._groups.get(group, ()):
            self.send(channel, message)

    def send(self, channel: str, message: Message) -> None:
        queue = self._queue(channel)
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(message)

    def broadcast(self, message: Message) -> None:
        for channel in list(self._queues):
            self.send(channel, message)

    async def receive(self, channel: str) -> Message:
        """The next message; raises StopConsumer once the layer is closed."""
        self._readers[channel] += 1
        try:
            message = await self._queue(channel).get()
        finally:
            self._readers[channel] -= 1
        if message is None:
            raise StopConsumer
        return message

    def close(self) -> None:
        for channel in list(self._queues):
            queue = self._queues[channel]
            _clear(queue)
            queue.put_nowait(None)

    def _drop_queue(self, channel: str) -> None:
        # A waiting reader holds this queue: keep it in case the channel joins a group again.
        if not self._readers[channel]:
            del self._readers[channel]
            self._queues.pop(channel, None)
        elif channel in self._queues:
            _clear(self._queues[channel])

    def _queue(self, channel: str) -> asyncio.Queue[Message | None]:
        # Not setdefault: creating a queue costs more than putting a message into one.
        if (queue := self._queues.get(channel)) is None:
            queue = self._queues[channel] = asyncio.Queue(self._capacity)
        return queue


def _clear(queue: asyncio.Queue[Message | None]) -> None:
    while not queue.empty():
        queue.get_nowait()
