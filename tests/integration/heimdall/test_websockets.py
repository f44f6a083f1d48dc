"""WebSockets of the server: delivery of texts, compression, TLS and back-pressure."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from tests.integration.heimdall.test_server import serving

# Around the sizes from which a frame is compressed, or has a longer head.
SIZES = (1, 125, 126, 127, 128, 1000, 65_535, 65_536, 300_000)
# Texts that compress badly.
TEXTS = [Random(size).randbytes(size).hex()[:size] for size in SIZES]
SHORT = [text for text in TEXTS if len(text) <= 1000]
SENDING = """
    from tests.integration.heimdall.test_websockets import SHORT, TEXTS
    await receive()
    await send({"type": "websocket.accept"})
    write = scope["extensions"]["heimdall.write"]
    short = tuple(text.encode() for text in SHORT)
    assert write(short) and write(short[:1]) and not write((TEXTS[-1].encode(),))
    for text in TEXTS:
        await send({"type": "websocket.send", "text": text})
    await send({"type": "websocket.close"})
    assert not write(short)
"""


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_texts_of_each_size_arrive_in_order(compression: str | None) -> None:
    with serving(SENDING) as port:
        async with connect(f"ws://127.0.0.1:{port}", compression=compression) as socket:
            async with asyncio.timeout(20):
                assert [text async for text in socket] == [*SHORT, SHORT[0], *TEXTS]


WRITING = """
    await receive()
    await send({"type": "websocket.accept"})
    write, written = scope["extensions"]["heimdall.write"], 0
    while write((b"%06d" % written * 1000,)):
        written += 1
        await asyncio.sleep(0)
    await send({"type": "websocket.send", "text": "last"})  # waits for the client
    assert write((b"%d" % written,))
"""


async def test_nothing_is_written_while_the_client_does_not_read() -> None:
    with serving(WRITING) as port:
        async with (
            connect(f"ws://127.0.0.1:{port}", compression=None, max_queue=1) as socket,
            asyncio.timeout(60),
        ):
            await asyncio.sleep(0.5)
            received = []
            while (text := str(await socket.recv())) != "last":
                received.append(text)
            assert received == [f"{number:06d}" * 1000 for number in range(len(received))]
            assert str(await socket.recv()) == str(len(received))
            assert len(received) * 6000 < 20_000_000  # what the sockets' buffers hold


# As `daphne -e ssl:…` serves.
WITH_TLS = """
import heimdall.daphne.server
heimdall.daphne.server.with_backlog = lambda _: "ssl:0:interface=127.0.0.1:privateKey={0}"
"""


async def test_websocket_texts_are_encrypted_with_tls(tmp_path: Path) -> None:
    key = write_certificate(tmp_path / "key.pem")
    context = ssl.create_default_context(cafile=key)
    with serving(SENDING, WITH_TLS.format(key)) as port:
        async with (
            asyncio.timeout(20),
            connect(f"wss://localhost:{port}", host="127.0.0.1", ssl=context) as socket,
        ):
            assert [text async for text in socket] == [*SHORT, SHORT[0], *TEXTS]


def write_certificate(path: Path) -> Path:
    """A key, and a certificate for localhost that it signs."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password)
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


WAITING = """
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
"""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_pongs_for_a_client_that_does_not_read_do_not_fill_memory() -> None:
    with serving(WAITING) as port, socket.socket() as client:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            client.setsockopt(socket.SOL_SOCKET, option, 65_536)
        client.settimeout(5.0)
        client.connect(("127.0.0.1", port))
        client.sendall(HANDSHAKE)
        assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
        pings, sent = (b"\x89\xfd" + bytes(4) + b"x" * 125) * 1000, 0
        with suppress(TimeoutError):
            while sent < 20_000_000:  # more than the sockets' buffers hold
                sent += client.send(pings[sent % len(pings) :])
        assert sent < 20_000_000


FULL = """
    await receive()
    await send({"type": "websocket.accept"})
    while scope["extensions"]["heimdall.write"]((bytes(60_000),)):
        await asyncio.sleep(0)
    await receive()
"""


def test_connection_ends_when_a_client_closes_it_before_reading_everything() -> None:
    with serving(FULL) as port, socket.create_connection(("127.0.0.1", port), 10.0) as client:
        client.sendall(HANDSHAKE)
        assert client.recv(12) == b"HTTP/1.1 101"
        time.sleep(0.5)
        client.sendall(b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big"))
        while client.recv(1 << 20):
            pass
