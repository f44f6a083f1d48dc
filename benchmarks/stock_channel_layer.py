"""The stock channel layer of channels_rabbitmq with a Channels consumer per WebSocket.

`daphne benchmarks.stock_channel_layer:application` serves it;
`python -m benchmarks.stock_channel_layer EVENTS JOB` sends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import django
from django.conf import settings

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_rabbitmq.core.RabbitmqChannelLayer",
            # The default of 100 would lose messages of a burst, and look faster.
            "CONFIG": {"host": os.environ["RABBITMQ_URL"], "local_capacity": 50_000,
                       "remote_capacity": 1_000_000},
        }
    }
)  # fmt: skip
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402, TID251
from channels.routing import URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

from benchmarks.publish_load import FIRST_SEQ, encode_event  # noqa: E402


class JobConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.group = self.scope["url_route"]["kwargs"]["job_id"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send(text_data="{}")

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def frame(self, message: dict[str, Any]) -> None:
        await self.send(text_data=message["text"])


routes = [re_path(r"^ws/training/(?P<job_id>[^/]+)$", JobConsumer.as_asgi())]
application = URLRouter(routes)


async def send(events: int, job_id: str) -> None:
    layer = get_channel_layer()
    for seq in range(FIRST_SEQ, FIRST_SEQ + events):
        text = encode_event(job_id, seq, events).decode()
        await layer.group_send(job_id, {"type": "frame", "text": text})
    await layer.close()


if __name__ == "__main__":
    asyncio.run(send(int(sys.argv[1]), sys.argv[2]))
