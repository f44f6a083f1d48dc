"""RabbitMQ accepts connections by a URL with options."""

from __future__ import annotations

import pytest

from realtime.amqp_consumer import open_connection
from realtime.transport import AmqpTransport

pytestmark = pytest.mark.rabbit
QUERY = "?heartbeat=5&connection_timeout=3000"


async def test_consumer_accepts_url_options(amqp: str) -> None:
    async with open_connection(amqp + QUERY, 10) as connection:
        await connection.exchange_declare("x", exchange_type="topic")


def test_publisher_accepts_url_options(amqp: str) -> None:
    transport = AmqpTransport(amqp + QUERY)
    transport.send("training.status.x", b"{}")
    transport.close()
