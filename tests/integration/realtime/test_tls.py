"""RabbitMQ over TLS: both sides verify the other's certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from heimdall.health import _check_broker
from realtime.amqp_consumer import open_connection
from realtime.transport import AmqpTransport
from tests import broker
from tests.certificates import Authority
from tests.stack import running_stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("tls"), pytest.mark.timeout(240)]


class Secured(NamedTuple):
    """A broker whose certificate is that of `broker.test`, and the files of its clients."""

    address: str
    authority: Path
    certificate: Path
    key: Path

    def url(self, **options: str) -> str:
        given = {
            "cacertfile": str(self.authority),
            "certfile": str(self.certificate),
            "keyfile": str(self.key),
            "server_name_indication": "broker.test",
            **options,
        }
        query = "&".join(f"{name}={quote(value)}" for name, value in given.items() if value)
        return f"{self.address}?{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if not broker.server_program():
        pytest.skip("needs a rabbitmq-server to start")
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    server, client = authority.issue("broker.test"), authority.issue("client.test")
    port = broker.free_port()
    running = broker.PrivateBroker(
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {authority.file}",
        f"ssl_options.certfile = {server.certificate}",
        f"ssl_options.keyfile = {server.key}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
    ).start()
    address = f"amqps://guest:guest@127.0.0.1:{port}/%2F"
    yield Secured(address, authority.file, client.certificate, client.key)
    running.close()


def consume(url: str) -> None:
    async def connect() -> None:
        async with open_connection(url, 10) as connection:
            await connection.exchange_declare("x", exchange_type="topic")

    asyncio.run(connect())


def publish(url: str) -> None:
    transport = AmqpTransport(url)
    try:
        transport.send("training.status.x", b"{}")
    finally:
        transport.close()


def check(url: str) -> None:
    if (state := _check_broker(url)) != "ok":
        raise OSError(state)


CLIENTS = pytest.mark.parametrize("client", [consume, publish, check])
Client = Callable[[str], None]


@CLIENTS
def test_client_with_the_authority_and_a_certificate_connects(
    secured: Secured, client: Client
) -> None:
    client(secured.url())


@CLIENTS
@pytest.mark.parametrize(
    "options",
    [
        {"cacertfile": ""},
        {"server_name_indication": ""},
        {"server_name_indication": "other.test"},
        {"certfile": "", "keyfile": ""},
    ],
    ids=["unknown authority", "address not in the certificate", "other name", "no certificate"],
)
def test_connection_that_is_not_verified_is_refused(
    secured: Secured, client: Client, options: dict[str, str]
) -> None:
    with pytest.raises((OSError, ConnectionError, TimeoutError)):
        client(secured.url(**options))


@CLIENTS
def test_server_certificate_is_ignored_only_if_requested(secured: Secured, client: Client) -> None:
    client(secured.url(cacertfile="", server_name_indication="", verify="verify_none"))


def test_job_is_trained_over_tls(secured: Secured, tmp_path: Path) -> None:
    with running_stack(tmp_path, secured.url(), workers=1) as stack:
        job = stack.submit(epochs=2)
        assert stack.until(job, "completed")["current_epoch"] == 2
