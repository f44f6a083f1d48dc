"""One hub for each event loop (as a rule there is one), made when somebody first follows a job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from channels.layers import channel_layers
from django.conf import settings

from realtime.broker import listen_locally
from realtime.hub import Hub
from realtime.journal import Journal


def hubs_over(journal: Journal) -> Callable[[], Hub]:
    """The hub of the running event loop, over this journal."""
    hubs: dict[asyncio.AbstractEventLoop, Hub] = {}

    def hub() -> Hub:
        loop = asyncio.get_running_loop()
        if loop not in hubs:
            # Not the registry's own layer: it belongs to one event loop, as the hub does.
            layer = channel_layers.make_backend("default")
            if settings.EMBEDDED:
                listen_locally(layer)
            hubs[loop] = Hub(journal, layer)
        return hubs[loop]

    return hub
