"""Who of this process is in which group, and what waits for whom; bounded, the newest kept."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import Any

from channels.exceptions import StopConsumer

Message = dict[str, Any]


class GroupQueues:
    """In the place of the base layer's queue: a member that does not read loses its oldest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._boxes: dict[str, asyncio.Queue[Message | None]] = {}
        self._groups: defaultdict[str, set[str]] = defaultdict(set)
        self._reading: Counter[str] = Counter()

    def group_add(self, group: str, channel: str) -> int:
        """How many are in the group then."""
        self._box(channel)
        self._groups[group].add(channel)
        return len(self._groups[group])

    def group_discard(self, group: str, channel: str) -> int:
        """How many are left; a channel in no group any more is forgotten with what waits for it."""
        members = self._groups[group]
        members.discard(channel)
        left = len(members)
        if not left:
            del self._groups[group]
        if not any(channel in others for others in self._groups.values()):
            self._forget(channel)
        return left

    def groups(self) -> set[str]:
        return set(self._groups)

    def members(self, group: str) -> frozenset[str]:
        return frozenset(self._groups.get(group, ()))

    def to_group(self, group: str, message: Message) -> None:
        for channel in self._groups.get(group, ()):
            self.to_channel(channel, message)

    def to_channel(self, channel: str, message: Message) -> None:
        box = self._box(channel)
        if box.full():
            box.get_nowait()
        box.put_nowait(message)

    def tell_all(self, message: Message) -> None:
        for channel in list(self._boxes):
            self.to_channel(channel, message)

    async def get(self, channel: str) -> Message:
        """The next message; StopConsumer once the layer is closed."""
        self._reading[channel] += 1
        try:
            message = await self._box(channel).get()
        finally:
            self._reading[channel] -= 1
        if message is None:
            raise StopConsumer
        return message

    def close(self) -> None:
        for channel in list(self._boxes):
            box = self._boxes[channel]
            _empty(box)
            box.put_nowait(None)

    def _forget(self, channel: str) -> None:
        """Whoever reads goes on reading this very box, should the channel join a group again."""
        if not self._reading[channel]:
            del self._reading[channel]
            self._boxes.pop(channel, None)
        elif channel in self._boxes:
            _empty(self._boxes[channel])

    def _box(self, channel: str) -> asyncio.Queue[Message | None]:
        # A queue costs more to make than a message to put into it: none is made in vain.
        if (box := self._boxes.get(channel)) is None:
            box = self._boxes[channel] = asyncio.Queue(self._capacity)
        return box


def _empty(box: asyncio.Queue[Message | None]) -> None:
    while not box.empty():
        box.get_nowait()
