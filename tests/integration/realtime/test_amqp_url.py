"""RabbitMQ accepts connections by a URL with options."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

import pytest

from realtime.amqp_consumer import open_connection
from realtime.transport import AmqpTransport
from tests import broker

pytestmark = pytest.mark.rabbit
QUERY = "?heartbeat=5&connection_timeout=3000"


async def test_consumer_accepts_url_options(amqp: str) -> None:
    async with open_connection(amqp + QUERY, 10) as connection:
        await connection.exchange_declare("x", exchange_type="topic")


def test_publisher_accepts_url_options(amqp: str) -> None:
    transport = AmqpTransport(amqp + QUERY)
    transport.send("training.status.x", b"{}")
    transport.close()


@pytest.fixture
def odd_url(amqp: str) -> Iterator[str]:
    """A broker URL whose virtual host, user and password must be escaped."""
    user, password = "night@watch", "p/w#d@1"
    url = broker.own_vhost(amqp, "heimdall_test/ü #1%?")
    if url == amqp:
        pytest.skip("needs rabbitmqctl")
    vhost = urlsplit(url).path
    for command in (
        ["add_user", user, password],
        ["set_permissions", "-p", unquote(vhost[1:]), user, ".*", ".*", ".*"],
    ):
        subprocess.run(["rabbitmqctl", "-q", *command], check=True)
    host = f"{urlsplit(amqp).hostname}:{urlsplit(amqp).port or 5672}"
    yield f"amqp://{quote(user)}:{quote(password, safe='')}@{host}{vhost}"
    subprocess.run(["rabbitmqctl", "-q", "delete_user", user], check=False)
    broker.drop_vhost(url)


async def test_virtual_host_and_user_may_have_any_characters(odd_url: str) -> None:
    async with open_connection(odd_url, 10) as connection:
        await connection.exchange_declare("x", exchange_type="topic")
    transport = AmqpTransport(odd_url)
    transport.send("training.status.x", b"{}")
    transport.close()
