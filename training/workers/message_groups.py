"""Which messages of a training are stored together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from training.programs.messages import BatchProgress, Checkpointed, EpochEnded, Message, Points

# In this order a group is stored: a checkpoint is recorded after the epochs that it contains.
_MERGEABLE: tuple[type[Message], ...] = (BatchProgress, EpochEnded, Points, Checkpointed)


def group_messages(received: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield the messages that one transaction stores; each group has messages of one type.

    Results between two other messages are grouped by type: a transaction for each of them would
    cost more than a short epoch. Other messages keep their place.
    """
    for mergeable, group in groupby(received, key=lambda one: isinstance(one, _MERGEABLE)):
        found = list(group)
        if mergeable:
            by_type = ([one for one in found if type(one) is kind] for kind in _MERGEABLE)
            yield from filter(None, by_type)
        else:
            yield from ([one] for one in found)
